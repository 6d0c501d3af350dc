"""The report on a scan as a page: what stands in its source. tests/browser looks at what a browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from nclforensics.reports.copy_words import copy_in_words
from nclforensics.reports.render_scan_html import render_scan_html
from nclforensics.reports.scan_document import Entry, Pictures
from nclforensics.results import ScoreMeaning
from tests.scan_runs import COPY, FACTS, make_document, make_finding, make_quiet_finding, make_skipped

if TYPE_CHECKING:
    from nclforensics.results import Outcome

HOSTILE = "<img src=x onerror=alert(1)></script><!--\u2028\u202e&amp;.jpg"


class _Page(HTMLParser):
    """Collects elements, and the text of the scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"script", "style"} and self.cdata_elem is not None:
            self.raw.append((self.tags[-1][1].get("id") or self.tags[-1][0], data))


def _page(*outcomes: Outcome, **changes: object) -> str:
    entries = [Entry(outcome, Pictures()) for outcome in outcomes]
    return "".join(
        render_scan_html(make_document(outcomes, **changes), enumerate(entries, start=1), listed=len(entries))
    )


def _records(page: str) -> list[dict[str, Any]]:
    texts = dict(_Page(page).raw)
    records = json.loads(texts["records"])
    assert isinstance(records, list)
    return records


def test_names_cannot_become_markup() -> None:
    """A name with tags, an end of script and a comment adds no element to the page, wherever it is shown."""
    plain = _page(make_finding(), case="c", operator="o", command=["nclf", "x"])
    hostile = _page(make_finding(HOSTILE), case=HOSTILE, operator=HOSTILE, command=["nclf", HOSTILE])
    assert [tag for tag, _ in _Page(hostile).tags] == [tag for tag, _ in _Page(plain).tags]
    (record,) = _records(hostile)
    assert not set(dict(_Page(hostile).raw)["records"]) & set("<>&")
    assert record["path"] == "<img src=x onerror=alert(1)></script><!--\\u2028\\u202e&amp;.jpg"
    assert "\u202e" not in hostile
    assert "\u2028" not in hostile


def test_the_policy_allows_exactly_the_page_s_own_style_and_script() -> None:
    """The hashes are those of the two blocks; nothing else may run or load."""
    page = _page(make_finding())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    texts = dict(_Page(page).raw)
    hashes = [base64.b64encode(hashlib.sha256(texts[name].encode()).digest()).decode() for name in ("style", "script")]
    directives = [part.strip() for part in policy.replace("&#39;", "'").split(";")]
    assert directives == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{hashes[0]}'",
        f"script-src 'sha256-{hashes[1]}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_page_asks_nothing_of_a_network() -> None:
    """No address but the page's own anchors and pictures inside it; no inline style or handler."""
    entry = Entry(make_finding(), Pictures(photo=b"jpeg", mask=b"png"))
    page = "".join(render_scan_html(make_document([entry.outcome]), [(1, entry)], listed=1))
    for _, attributes in _Page(page).tags:
        assert (attributes.get("href") or "#").startswith("#")
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
    assert "http://" not in page
    assert "https://" not in page
    assert _records(page)[0]["pictures"] == {
        "photo": "data:image/jpeg;base64,anBlZw==",
        "mask": "data:image/png;base64,cG5n",
    }


def test_many_pictures_lie_beside_the_page() -> None:
    """They are handed over one by one, and the page holds their addresses."""
    stored: dict[str, bytes] = {}

    def store(name: str, content: bytes) -> str:
        stored[name] = content
        return f"report_files/{name}"

    entries = [Entry(make_finding(), Pictures(photo=b"one")), Entry(make_finding(), Pictures(photo=b"two"))]
    document = make_document([entry.outcome for entry in entries])
    page = "".join(render_scan_html(document, enumerate(entries, start=1), listed=len(entries), store=store))
    assert stored == {"000001.photo.jpg": b"one", "000002.photo.jpg": b"two"}
    assert _records(page)[1]["pictures"] == {"photo": "report_files/000002.photo.jpg"}


def test_every_image_is_in_the_page_with_its_facts() -> None:
    """Scanned or skipped, in the order of the records."""
    finding = make_finding(orientation=6, copies=(COPY,))
    scanned, quiet, skipped = _records(_page(finding, make_quiet_finding(), make_skipped()))
    assert (scanned["outcome"], scanned["score"], scanned["shown"]) == ("localized evidence", 0.98, [80, 120])
    assert scanned["regions"][0]["box"] == [10, 20, 30, 40]
    assert scanned["regions"][0]["shown"] == [20, 10, 40, 30]
    assert scanned["copies"] == [copy_in_words(COPY)]
    assert (quiet["regions"], quiet["copies"]) == ([], [])
    assert skipped["reason"] == "Cannot decode: the file is cut short."
    assert "score" not in skipped


def test_quality_and_the_meaning_of_a_score_are_shown() -> None:
    """Both stand beside the result that they qualify."""
    meaning = ScoreMeaning(lowest_rate=0.01, highest_rate=0.05, authentic=100, text="As high in 1 to 5 % of photos.")
    (record,) = _records(_page(make_finding(quality=FACTS, score_meaning=meaning)))
    assert record["meaning"] == "As high in 1 to 5 % of photos."
    assert ["JPEG", "quality 85 (standard tables), 4:2:0"] in record["quality"]


def test_the_page_names_custody_rates_and_limits_without_script() -> None:
    """What a reader must know stands in the page itself, not in its script."""
    page = _page(make_finding())
    for text in ("Case 2026-117", "A. Examiner", "5.0% of 100 authentic photos", "f" * 64, "1" * 64, "nclf verify ."):
        assert text in page
    assert "nclf scan &#39;my photos&#39; --out out" in page
    assert "The score is not a probability." in page


def test_a_scan_without_images_gives_a_page() -> None:
    """A scan killed before its first record."""
    assert _records(_page(status="running", ended=None, images=3, counts={})) == []
