"""The default model beside the runnable alternatives from PyPI, on the same images, with the same metrics, in one run.

    python -m benchmarks.peers SET [SET ...] --out DIR [--authentic SET] [--weights MODEL] [--limit N] [--jobs N]

From the repository root, in an environment where nclforensics and the alternatives (`INSTALL` of peer_methods.py) are
installed; without them the model is measured alone. SET is what `nclf eval` takes. Images are analysed at native size
and scored by nclforensics.metrics. f1@fpr5 is F1 at the threshold at which 5 % of authentic images show a region above
0.5 % of their area: the set's own authentic images, or those of --authentic for a set without any. An image on which a
method fails counts as a map of 0.5 everywhere. Every method runs in a process of its own, and each measured image adds
a line to DIR/METHOD.jsonl: started again, the command goes on where it stopped. DIR/peers.md and DIR/peers.json hold
the tables. Seconds are processor time on one thread, with the decoding of the image.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benchmarks.peer_methods import INSTALL, PACKAGES, PEERS, UNKNOWN, Picture, Scores, not_usable
from benchmarks.peer_table import FIGURES, OURS, RATE, Item, Row, Run, render, summarize
from nclforensics.data.images import read_image
from nclforensics.data.manifest import ImagePair
from nclforensics.data.sets import load_set
from nclforensics.metrics.figures import FigureThresholds, pixel_figures
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.regions import evidence_score
from nclforensics.pipelines.dataset_check import check_pairs, ground_truth_of_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MIN_REGION: Final = 0.005
CHANCE: Final = "0.5 everywhere"
SETTINGS: Final = "settings.json"
OUR_FAULT: Final = 70  # exit code; C libraries that give up end a process with 1
THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Measure what is not yet measured, print and write the tables."""
    arguments = parse_arguments()
    out: Path = arguments.out.absolute()
    if arguments.worker:
        work(arguments.worker, out)
        return
    missing = [f"{package} ({reason})" for package in PACKAGES if (reason := not_usable(package)) is not None]
    if missing:
        print(f"left out: {', '.join(missing)}. To compare with them: {INSTALL}", file=sys.stderr)
    run = plan_run(arguments)
    claim_folder(out, run)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(partial(run_method, out=out, run=run), arguments.methods))
    document = summarize(run, {name: read_rows(out, name) for name in arguments.methods})
    (out / "peers.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "peers.md").write_text(render(document), encoding="utf-8")
    print(render(document))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    usable = [OURS, CHANCE, *(peer.name for peer in PEERS if not_usable(peer.package) is None)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="a benchmark's name, a folder, or NAME:FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="folder for the lines of each method and the tables")
    parser.add_argument(
        "--authentic", metavar="SET", help="its authentic images set the threshold where a set has none"
    )
    parser.add_argument("--weights", metavar="MODEL", help="model name or folder; default: the one that is shipped")
    parser.add_argument(
        "--methods", nargs="+", choices=usable, default=usable, metavar="METHOD", help=", ".join(usable)
    )
    parser.add_argument("--limit", type=int, help="at most so many tampered and authentic images of each set")
    parser.add_argument("--jobs", type=int, default=1, help="methods that run at the same time, on one thread each")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.sets and not arguments.worker:
        parser.error("name at least one SET")
    return arguments


def plan_run(arguments: argparse.Namespace) -> Run:
    """Read the sets and choose the images."""
    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - the processes of other methods need no torch

    model = load_model(arguments.weights)
    loaded = {name: chosen(pairs, arguments.limit) for name, pairs in map(read_set, arguments.sets)}
    sets: dict[str, str | None] = {name: name if any(p.authentic for p in loaded[name]) else None for name in loaded}
    if arguments.authentic is not None:
        lender, pairs = read_set(arguments.authentic)
        if not any(pair.authentic for pair in pairs):
            sys.exit(f"Expected authentic images in {arguments.authentic}, found none.")
        loaded.setdefault(lender, [pair for pair in chosen(pairs, arguments.limit) if pair.authentic])
        sets = {name: own or lender for name, own in sets.items()}
    items = [Item(name, pair) for name, pairs in loaded.items() for pair in pairs]
    ordered = sorted(items, key=lambda item: not item.pair.authentic)
    return Run(tuple(ordered), sets, model=model.name, weights=arguments.weights, sha256=model.sha256)


def read_set(spec: str) -> tuple[str, tuple[ImagePair, ...]]:
    """Return a set's name and its usable pairs: the same ones that `nclf eval` measures."""
    loaded = load_set(spec)
    name = loaded.facts.name if loaded.facts is not None else Path(loaded.name).resolve().name
    pairs = check_pairs(loaded.pairs).usable
    return name, tuple(
        dataclasses.replace(p, image=p.image.absolute(), mask=p.mask and p.mask.absolute()) for p in pairs
    )


def chosen(pairs: Sequence[ImagePair], limit: int | None) -> list[ImagePair]:
    """Return the authentic and the tampered images, at most `limit` of each, evenly spread over the set."""
    kinds = [[pair for pair in pairs if pair.authentic is authentic] for authentic in (True, False)]
    sizes = [len(kind) if limit is None else min(limit, len(kind)) for kind in kinds]
    return [kind[k * len(kind) // size] for kind, size in zip(kinds, sizes, strict=True) for k in range(size)]


def claim_folder(out: Path, run: Run) -> None:
    """Store what is measured in a new folder; stop if the folder holds results of something else."""
    path, text = out / SETTINGS, json.dumps(dataclasses.asdict(run), indent=1, default=str) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} holds other sets, limits or weights: they cannot stand in one table. Name another --out.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def stored_run(out: Path) -> Run:
    """Return what `claim_folder` stored."""
    fields = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    fields["items"] = tuple(Item(each["dataset"], pair_of(each["pair"])) for each in fields["items"])
    return Run(**fields)


def pair_of(fields: Row) -> ImagePair:
    """Return a pair from its JSON form."""
    mask = Path(fields["mask"]) if fields["mask"] is not None else None
    return ImagePair(**{**fields, "image": Path(fields["image"]), "mask": mask})


def run_method(name: str, *, out: Path, run: Run) -> None:
    """Run a method in processes of its own: one, and one more for each image whose decoder or code ends it."""
    command = [sys.executable, "-m", "benchmarks.peers", "--worker", name, "--out", str(out)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "OPENCV_LOG_LEVEL": "ERROR"}
    while len(rows := read_rows(out, name)) < len(run.items):
        ended = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own command line
        if ended in (OUR_FAULT, -signal.SIGINT, -signal.SIGTERM):
            sys.exit(f"{name} was not measured to its end: see above. The same command goes on from here.")
        if ended:
            rows, reason = read_rows(out, name), f"its process ended with {ended}"
            append_row(out, name, measure(run.items[len(rows)], None, thresholds_of(run, rows), failure=reason))
    print(f"{name}: {len(rows)} images", file=sys.stderr, flush=True)


def work(name: str, out: Path) -> None:
    """Measure a method in this process; an error here is none of the method's and must not be counted as one."""
    try:
        measure_method(name, out)
    except Exception:  # noqa: BLE001 - whatever it is
        traceback.print_exc()
        sys.exit(OUR_FAULT)


def measure_method(name: str, out: Path) -> None:
    """Measure the images that a method has no line for; files that it writes go to a folder that is removed."""
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # the alternatives divide by zero a lot
    run, rows = stored_run(out), read_rows(out, name)
    localize = open_method(name, run)
    with tempfile.TemporaryDirectory(prefix="nclf-peers-") as folder, contextlib.chdir(folder):
        for item in run.items[len(rows) :]:
            rows.append(measure(item, localize, thresholds_of(run, rows)))
            append_row(out, name, rows[-1])


def open_method(name: str, run: Run) -> Callable[[Picture], Scores]:
    """Return what gives score maps."""
    if name == CHANCE:
        return lambda picture: np.full(picture.pixels.shape[:2], UNKNOWN, np.float32)
    if name != OURS:
        return next(peer for peer in PEERS if peer.name == name).open()
    import torch  # noqa: PLC0415 - the other methods need none

    from nclforensics.networks.weights import load_model  # noqa: PLC0415
    from nclforensics.pipelines.inference import Localizer  # noqa: PLC0415

    torch.set_num_threads(1)
    localizer = Localizer(load_model(run.weights).network, device=torch.device("cpu"))
    return lambda picture: localizer.localize(read_image(picture.png if picture.jpeg is None else picture.jpeg).pixels)


def measure(
    item: Item,
    localize: Callable[[Picture], Scores] | None,
    thresholds: dict[str, float],
    *,
    failure: str | None = None,
) -> Row:
    """Return an image's line; without `localize` that of a failure."""
    loaded = read_image(item.pair.image)
    score_map, seconds = np.full(loaded.pixels.shape[:2], UNKNOWN, np.float32), 0.0
    if localize is not None:
        picture = as_picture(loaded.pixels, item.pair.image if loaded.format == "JPEG" else None)
        score_map, seconds, failure = guarded(localize, picture, otherwise=score_map)
    mask = ground_truth_of_size(item.pair, (loaded.pixels.shape[0], loaded.pixels.shape[1]))
    figures = FigureThresholds("fpr5", thresholds.get(item.dataset), model=0.5)
    return {
        "set": item.dataset,
        "image": f"{item.pair.image.parent.name}/{item.pair.image.name}",
        "authentic": item.pair.authentic,
        "megapixels": mask.size / 1e6,
        "seconds": seconds,
        "failure": failure,
        "evidence": evidence_score(score_map, min_region=MIN_REGION),
        **({} if item.pair.authentic else pick_figures(score_map, mask, figures)),
    }


def pick_figures(score_map: Scores, mask: NDArray[np.bool_], thresholds: FigureThresholds) -> dict[str, float | None]:
    """Return the figures of the table."""
    figures, _ = pixel_figures(score_map, mask, thresholds)
    return {name: figures[name] for name in FIGURES}


def as_picture(pixels: NDArray[np.uint8], jpeg: Path | None) -> Picture:
    """Write an image to the working directory in the forms that the methods read."""
    png, copy = Path("image.png").absolute(), Path("image.jpg").absolute()
    cv2.imwrite(str(png), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if jpeg is not None:
        copy.write_bytes(jpeg.read_bytes())
    return Picture(pixels, png, copy if jpeg is not None else None)


def guarded(
    localize: Callable[[Picture], Scores], picture: Picture, *, otherwise: Scores
) -> tuple[Scores, float, str | None]:
    """Return a method's map, its processor time and None; or the map that stands for a failure, and the reason."""
    np.random.seed(0)  # noqa: NPY002 - NOI2 draws its filters from the global generator
    said = io.StringIO()
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(said):
            score_map = localize(picture)
    except Exception as error:  # noqa: BLE001 - that a method fails is a result
        reason = said.getvalue().strip() or str(error) or type(error).__name__
        return otherwise, 0.0, " ".join(reason.split())[:120]
    return score_map, time.process_time() - started, None


def thresholds_of(run: Run, rows: Sequence[Row]) -> dict[str, float]:
    """Return the threshold of each set, from the authentic images measured so far."""
    found = {}
    for name, lender in run.sets.items():
        evidence = [row["evidence"] for row in rows if row["authentic"] and row["set"] == lender]
        if evidence:
            found[name] = threshold_at_rate(evidence, rate=RATE)
    return found


def rows_file(out: Path, method: str) -> Path:
    """Return where a method's lines are kept."""
    return out / (re.sub(r"\W+", "_", method).strip("_") + ".jsonl")


def read_rows(out: Path, method: str) -> list[Row]:
    """Return a method's lines, in the order of the run's images; a line cut short by a kill is dropped."""
    path = rows_file(out, method)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def append_row(out: Path, method: str, row: Row) -> None:
    """Add a line."""
    with rows_file(out, method).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
