"use strict";
// Texts of the records are only ever set as text content, never as markup.
const byId = (id) => document.getElementById(id);
const { threshold, outcomes } = JSON.parse(byId("setting").textContent);
const records = JSON.parse(byId("records").textContent);
const collator = new Intl.Collator("en", { numeric: true });
const grouped = new Intl.NumberFormat("en");
const PRINTED = 2000; // rows that a printed table has at most; the CSV report has all

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
const percent = (share) => `${(100 * share).toFixed(2)} %`;
const outcomeClass = (record) => `o${outcomes.indexOf(record.outcome)}`;
const outcomeLabel = (record) =>
  make("span", { className: `outcome ${outcomeClass(record)}` }, make("i", { className: "dot", ariaHidden: "true" }), record.outcome);

// --- the table: filter, sort, one page of rows at a time ---
const keys = {
  number: (record) => record.number,
  path: (record) => record.path,
  outcome: (record) => outcomes.indexOf(record.outcome),
  score: (record) => record.score,
  regions: (record) => record.regions?.length,
  share: (record) => record.share,
  pixels: (record) => record.width && record.width * record.height,
};
const state = { text: "", outcome: "", least: null, key: "number", down: false, page: 0, size: 50 };
let shown = records;

function compare(a, b) {
  const [x, y] = [keys[state.key](a), keys[state.key](b)];
  // Records without the value come last, whichever way the others are sorted.
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || a.number - b.number;
  const order = typeof x === "string" ? collator.compare(x, y) : x - y;
  return (state.down ? -order : order) || a.number - b.number;
}

// Names written on a Mac hold an accent as a character of its own; what is typed does not.
const searchable = (text) => text.normalize("NFC").toLowerCase();

function select() {
  const wanted = searchable(state.text);
  shown = records.filter(
    (record) =>
      (!wanted || searchable(record.path).includes(wanted)) &&
      (!state.outcome || record.outcome === state.outcome) &&
      (state.least === null || record.score >= state.least),
  );
  shown.sort(compare);
  state.page = 0;
  draw();
}

function picture(record) {
  const source = record.pictures.photo ?? record.pictures.overlay ?? record.pictures.mask;
  if (!source) return make("span", { className: "none" });
  return make("img", { src: source, alt: "", loading: "lazy", decoding: "async" });
}

function row(record, place) {
  const cut = record.path.lastIndexOf("/") + 1;
  const open = make("button", { type: "button" }, record.path.slice(cut));
  const name = make("td", { className: "path" }, open);
  if (cut) name.append(make("span", { className: "folder" }, record.path.slice(0, cut)));
  const said = make("td", { className: "said" }, outcomeLabel(record));
  if (record.reason) said.append(make("span", { className: "why" }, record.reason));
  const cell = (kind, text) => make("td", { className: `num ${kind}` }, text);
  const scanned = record.score !== undefined;
  const line = make(
    "tr",
    {},
    make("td", { className: "thumb" }, picture(record)),
    name,
    said,
    cell("score", scanned ? record.score.toFixed(4) : ""),
    cell("extra", scanned ? String(record.regions.length) : ""),
    cell("extra", scanned ? percent(record.share) : ""),
    cell("extra", scanned ? `${record.width} \u00d7 ${record.height}` : ""),
    cell("extra", String(record.number)),
  );
  line.addEventListener("click", () => view(place));
  return line;
}

function draw(limit = state.size) {
  const pages = Math.max(1, Math.ceil(shown.length / limit));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const start = state.page * limit;
  const rows = shown.slice(start, start + limit).map((record, index) => row(record, start + index));
  byId("table").tBodies[0].replaceChildren(...rows);
  const range = rows.length ? `${grouped.format(start + 1)} to ${grouped.format(start + rows.length)} of ` : "";
  const filtered = shown.length < records.length ? ` matching, of ${grouped.format(records.length)}` : "";
  byId("status").textContent = `${range}${grouped.format(shown.length)} ${shown.length === 1 ? "image" : "images"}${filtered}`;
  byId("page").textContent = `Page ${grouped.format(state.page + 1)} of ${grouped.format(pages)}`;
  byId("first").disabled = byId("back").disabled = state.page === 0;
  byId("last").disabled = byId("on").disabled = state.page === pages - 1;
  byId("pager").hidden = pages === 1;
}

function turn(page) {
  state.page = page;
  draw();
  byId("images").scrollIntoView();
}

for (const heading of byId("table").tHead.rows[0].cells) {
  const key = heading.dataset.key;
  if (!key) continue;
  const button = make("button", { type: "button" }, ...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const numeric = heading.classList.contains("num") && key !== "number";
    state.down = state.key === key ? !state.down : numeric;
    state.key = key;
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    select();
  });
}

let waiting;
byId("find").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    state.text = event.target.value;
    select();
  }, 120);
});
byId("outcome").addEventListener("change", (event) => {
  state.outcome = event.target.value;
  select();
});
byId("least").addEventListener("input", (event) => {
  state.least = event.target.value === "" ? null : Number(event.target.value);
  select();
});
byId("size").addEventListener("change", (event) => {
  state.size = Number(event.target.value);
  state.page = 0;
  draw();
});
byId("clear").addEventListener("click", () => {
  document.querySelector(".tools").reset();
  Object.assign(state, { text: "", outcome: "", least: null, size: Number(byId("size").value) });
  select();
});
document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
byId("first").addEventListener("click", () => turn(0));
byId("back").addEventListener("click", () => turn(state.page - 1));
byId("on").addEventListener("click", () => turn(state.page + 1));
byId("last").addEventListener("click", () => turn(Infinity));
byId("table").tBodies[0].addEventListener("keydown", (event) => {
  const buttons = [...byId("table").tBodies[0].querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (to === undefined || !buttons[to]) return;
  event.preventDefault();
  buttons[to].focus();
});

// --- one image ---
const LAYERS = { overlay: "Overlay", score_map: "Score map", mask: "Mask" };
const viewing = { place: 0, layer: "overlay", opacity: 100 };

function view(place) {
  viewing.place = place;
  const record = shown[place];
  byId("position").textContent = `${grouped.format(place + 1)} of ${grouped.format(shown.length)}`;
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === shown.length - 1;
  byId("name").textContent = record.path;
  byId("verdict").replaceChildren(outcomeLabel(record), ...(record.reason ? [make("br"), record.reason] : []));
  byId("facts").replaceChildren(...facts(record));
  stage(record);
  if (!byId("viewer").open) byId("viewer").showModal();
  byId("viewer").scrollTop = 0;
}

function stage(record) {
  const { photo, ...layers } = record.pictures;
  const available = Object.keys(LAYERS).filter((layer) => layers[layer]);
  const chosen = available.includes(viewing.layer) ? viewing.layer : available[0];
  byId("photo").hidden = !photo;
  if (photo) byId("photo").src = photo;
  else byId("photo").removeAttribute("src");
  byId("stage").classList.toggle("bare", !photo);
  byId("stage").hidden = !photo && !available.length;
  byId("missing").textContent = record.missing.join(" ");
  byId("controls").hidden = !available.length;
  byId("layers").replaceChildren(
    ...available.map((layer) => {
      const radio = make("input", { type: "radio", name: "layer", value: layer, checked: layer === chosen });
      radio.addEventListener("change", () => {
        viewing.layer = layer;
        lay(record, layer);
      });
      return make("label", {}, radio, LAYERS[layer]);
    }),
  );
  byId("boxes").replaceChildren(...(record.regions ?? []).map((region, index) => box(region, record, index)));
  lay(record, chosen);
}

function lay(record, layer) {
  byId("layer").hidden = !layer;
  if (layer) {
    byId("layer").src = record.pictures[layer];
    byId("layer").alt = `${LAYERS[layer]} of the image`;
  } else byId("layer").removeAttribute("src");
  byId("scale").hidden = !layer || layer === "mask";
  byId("opacity-label").hidden = !record.pictures.photo;
  fade();
}

function fade() {
  const bare = byId("stage").classList.contains("bare");
  byId("layer").style.opacity = bare ? 1 : viewing.opacity / 100;
  byId("opacity-value").textContent = `${viewing.opacity} %`;
  byId("boxes").hidden = !byId("show-boxes").checked;
}

function box(region, record, index) {
  const [x, y, width, height] = region.shown;
  const [across, down] = record.shown;
  const element = make("div", {}, make("span", {}, String(index + 1)));
  element.style.left = `${(100 * x) / across}%`;
  element.style.top = `${(100 * y) / down}%`;
  element.style.width = `${(100 * width) / across}%`;
  element.style.height = `${(100 * height) / down}%`;
  return element;
}

function pairs(items) {
  const list = make("dl");
  for (const [term, value, code] of items) {
    list.append(make("dt", {}, term), make("dd", {}, code ? make("code", {}, value) : value));
  }
  return list;
}

function list(texts) {
  return make("ul", {}, ...texts.map((text) => make("li", {}, text)));
}

function regionTable(record) {
  const head = ["no.", "x", "y", "width", "height", "area", "mean", "max"];
  const body = make("tbody");
  record.regions.forEach((region, index) => {
    const share = `${grouped.format(region.area)} (${percent(region.area / (record.width * record.height))})`;
    const values = [index + 1, ...region.box, share, region.mean.toFixed(3), region.max.toFixed(3)];
    const line = make("tr", {}, ...values.map((value) => make("td", { className: "num" }, String(value))));
    const mark = (strong) => byId("boxes").children[index]?.classList.toggle("strong", strong);
    line.addEventListener("pointerenter", () => mark(true));
    line.addEventListener("pointerleave", () => mark(false));
    body.append(line);
  });
  const heading = make("tr", {}, ...head.map((text) => make("th", { className: "num" }, text)));
  return make("div", { className: "scroll" }, make("table", {}, make("thead", {}, heading), body));
}

function facts(record) {
  const parts = [];
  const heading = (text) => make("h3", {}, text);
  if (record.score !== undefined) {
    parts.push(
      pairs([
        ["image score", `${record.score.toFixed(6)} (threshold ${threshold.toFixed(6)})`],
        ...(record.meaning ? [["meaning", record.meaning]] : []),
        ["area of regions", percent(record.share)],
      ]),
      heading(`Regions of elevated score: ${record.regions.length}`),
    );
    if (record.regions.length) parts.push(regionTable(record));
    if (record.copies.length) parts.push(heading("Content found twice"), list(record.copies));
  }
  const file = [];
  if (record.score !== undefined) {
    file.push(["pixels", `${record.width} \u00d7 ${record.height}, as stored`], ["format", `${record.format}, decoded by ${record.decoder}`]);
    if (record.orientation > 1) file.push(["orientation", `EXIF ${record.orientation}: analysed as stored, shown upright`]);
  }
  file.push(["size", record.bytes === null ? "not read" : `${grouped.format(record.bytes)} bytes`]);
  file.push(["SHA-256", record.sha256 ?? "not read", true]);
  for (const note of record.notes ?? []) file.push(["note", note]);
  if (record.tiles > 1) file.push(["tiles", String(record.tiles)]);
  parts.push(heading("File"), pairs(file));
  if (record.quality?.length) parts.push(heading("Quality, from its own traces"), pairs(record.quality));
  if (record.files) {
    const rows = record.files.flatMap(([title, name, digest]) => [[title, name], ["SHA-256", digest, true]]);
    parts.push(heading("Written for it"), pairs(rows));
  }
  return parts;
}

const step = (by) => shown[viewing.place + by] && view(viewing.place + by);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => byId("viewer").close());
byId("show-boxes").addEventListener("change", fade);
byId("opacity").addEventListener("input", (event) => {
  viewing.opacity = Number(event.target.value);
  fade();
});
byId("viewer").addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
byId("viewer").addEventListener("click", (event) => {
  if (event.target === byId("viewer") && event.detail) byId("viewer").close(); // on the backdrop
});
byId("viewer").addEventListener("close", () => {
  const page = Math.floor(viewing.place / state.size);
  if (page !== state.page) {
    state.page = page;
    draw();
  }
  byId("table").tBodies[0].querySelectorAll("button")[viewing.place - page * state.size]?.focus();
});

// --- colours and paper ---
const COLOURS = ["system", "light", "dark"];
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const next = COLOURS[(COLOURS.indexOf(root.dataset.colours ?? "system") + 1) % COLOURS.length];
  root.dataset.colours = next;
  byId("theme").textContent = `Colours: ${next}`;
});
window.addEventListener("beforeprint", () => {
  state.screen = state.page;
  state.page = 0;
  draw(PRINTED);
});
window.addEventListener("afterprint", () => {
  state.page = state.screen;
  draw();
});

byId("theme").hidden = false;
byId("list").hidden = false;
select();
