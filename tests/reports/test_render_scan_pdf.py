"""The report on a scan as PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.pipelines.outputs import encode_png
from nclforensics.reports import render_scan_pdf as module
from nclforensics.reports.copy_words import copy_in_words
from nclforensics.reports.pdf_page import Paper
from nclforensics.reports.render_scan_pdf import render_scan_pdf, shown_in_blocks
from nclforensics.reports.scan_document import Entry, Pictures
from tests.factories import make_image
from tests.scan_runs import COPY, make_document, make_finding, make_quiet_finding, make_skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.results import Outcome

PICTURE = encode_png(make_image(30, 40))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that every text drawn from now on is added to: in the file it is glyph numbers."""
    texts: list[str] = []
    cell, multi_cell = Paper.cell, Paper.multi_cell

    def one(self: Paper, *args: object, **kwargs: object) -> object:
        texts.append(str(args[2] if len(args) > 2 else kwargs.get("text")))
        return cell(self, *args, **kwargs)  # type: ignore[arg-type]

    def several(self: Paper, *args: object, **kwargs: object) -> object:
        texts.append(str(args[2] if len(args) > 2 else kwargs.get("text")))
        return multi_cell(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Paper, "cell", one)
    monkeypatch.setattr(Paper, "multi_cell", several)
    return texts


def _pdf(outcomes: Sequence[Outcome], pictures: Pictures = Pictures(), **changes: object) -> bytes:  # noqa: B008 - frozen
    blocks = [(number, Entry(outcome, pictures)) for number, outcome in enumerate(outcomes, 1)]
    shown = shown_in_blocks(outcomes)
    document = make_document(outcomes, **changes)
    return render_scan_pdf(document, outcomes, [block for block in blocks if block[0] in shown])


def test_equal_records_give_equal_bytes() -> None:
    """The file's date is that of the scan; no other trace of the moment is in it."""
    outcomes: list[Outcome] = [make_finding(), make_quiet_finding(), make_skipped()]
    pictures = Pictures(photo=PICTURE, overlay=PICTURE, score_map=PICTURE)
    first = _pdf(outcomes, pictures)
    assert first.startswith(b"%PDF-")
    assert first == _pdf(outcomes, pictures)
    assert b"/CreationDate (D:20261123100500Z" in first
    assert first.count(b"/Subtype /Image") == 1  # the same picture is stored once


def test_the_chain_of_custody_is_on_the_cover(written: list[str]) -> None:
    """Case, operator, times, digests, command, rate and limits."""
    _pdf([make_finding()])
    text = "\n".join(written)
    for expected in ("Case 2026-117", "A. Examiner", "f" * 64, "1" * 64, "2" * 64, "nclf scan 'my photos' --out out"):
        assert expected in text
    assert "5.0% of 100 authentic photos" in text
    assert "The score is not a probability." in text


def test_what_was_found_twice_is_told(written: list[str]) -> None:
    """Below the regions of its image."""
    _pdf([make_finding(copies=(COPY,))])
    assert "found twice" in written
    assert copy_in_words(COPY) in written


def test_each_page_names_the_records_it_was_made_from(written: list[str]) -> None:
    """A page that comes loose can be traced: its foot has case, digest and number."""
    _pdf([make_finding() for _ in range(8)])
    feet = [text for text in written if text.startswith("case 2026-117, results.jsonl SHA-256 " + "1" * 64)]
    pages = [text for text in written if text.startswith("page ")]
    assert len(feet) == len(pages) > 2


def test_a_long_case_leaves_the_foot_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shortened there: it would run over the page's number and over the digest's end."""
    feet: list[tuple[str, float, float]] = []
    cell = Paper.cell

    def watched(self: Paper, width: float, height: float, text: str = "", **kwargs: object) -> object:
        if "results.jsonl SHA-256 " in text:
            feet.append((text, self.get_string_width(text), width))
        return cell(self, width, height, text, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Paper, "cell", watched)
    _pdf([make_finding()], case="against persons unknown, " * 20)
    assert feet
    for text, needed, room in feet:
        assert needed <= room
        assert text.startswith("case against")
        assert text.endswith("..., results.jsonl SHA-256 " + "1" * 64)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\u6771\u4eac.jpg", "\\u6771\\u4eac.jpg"),
        ("caf\u00e9 \u03b1\u0416.jpg", "caf\u00e9 \u03b1\u0416.jpg"),
        ("\udcff\n\u202e.jpg", "\\udcff\\n\\u202e.jpg"),
        ("\U0001f600.jpg", "\\U0001f600.jpg"),
        ("{nb} **b** <b>.jpg", "{nb} **b** <b>.jpg"),
    ],
)
def test_any_name_can_be_written(name: str, shown: str, written: list[str]) -> None:
    """What the fonts have is drawn; the rest becomes an exact escape, and nothing is markup."""
    _pdf([make_finding(name)])
    assert shown in written
    assert f"1. {shown}" in written


def test_a_name_as_long_as_a_page_is_no_obstacle() -> None:
    """Long names are broken anywhere, in the table and above the pictures."""
    assert _pdf([make_finding("n" * 900)], Pictures(photo=PICTURE)).startswith(b"%PDF-")


@pytest.mark.parametrize("letters", [1400, 1550])
def test_below_a_long_name_pictures_stay_on_the_page(letters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to the next page instead of over the foot, or off the paper."""
    ends: list[float] = []
    picture = Paper.picture

    def watched(self: Paper, content: bytes, title: str, *, x: float, y: float, box: tuple[float, float]) -> None:
        ends.append(self.h - self.b_margin - (y + 3.6 + box[1]))
        picture(self, content, title, x=x, y=y, box=box)

    monkeypatch.setattr(Paper, "picture", watched)
    _pdf([make_finding("n" * letters)], Pictures(photo=PICTURE))
    assert ends
    assert min(ends) >= 0


def test_a_row_longer_than_a_page_takes_few_pages() -> None:
    """It goes on in rows of its own; each of its lines began a page before."""
    assert _pdf([make_finding("n" * 6000)]).count(b"/Type /Page\n") <= 6


def test_words_of_a_reason_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only names are broken anywhere."""
    cells: list[str] = []
    cell = Paper.cell

    def watched(self: Paper, width: float, height: float, text: str = "", **kwargs: object) -> object:
        cells.append(text)
        return cell(self, width, height, text, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Paper, "cell", watched)
    skipped = make_skipped()
    _pdf([skipped])
    words = {word for text in cells for word in text.split()}
    assert skipped.reason is not None
    assert set(skipped.reason.split()) <= words


def test_the_heading_of_the_pictures_stands_above_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not alone at the end of a page whose table left less room than a picture takes."""
    pages: dict[str, int] = {}
    heading, picture = Paper.heading, Paper.picture

    def noted_heading(self: Paper, text: str, **kwargs: float) -> None:
        heading(self, text, **kwargs)
        pages[text] = self.page_no()

    def noted_picture(self: Paper, content: bytes, title: str, **kwargs: Any) -> None:  # noqa: ANN401 - as it was called
        picture(self, content, title, **kwargs)
        pages.setdefault(title, self.page_no())

    monkeypatch.setattr(Paper, "heading", noted_heading)
    monkeypatch.setattr(Paper, "picture", noted_picture)
    for skipped in range(20, 36, 3):
        pages.clear()
        _pdf([make_finding(), *[make_skipped()] * skipped], Pictures(photo=PICTURE))
        assert pages["Pictures"] == pages["photo"]


def test_pictures_have_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a white one would not be seen on white paper."""
    frames: list[tuple[float, float]] = []
    monkeypatch.setattr(Paper, "rect", lambda _, __, ___, width, height: frames.append((width, height)))
    _pdf([make_finding()], Pictures(photo=PICTURE))
    assert [width / height for width, height in frames] == [pytest.approx(40 / 30)]


def test_the_images_with_evidence_are_the_ones_shown(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    """Where not all can be: evidence by score, then the others; the document says so."""
    monkeypatch.setattr(module, "BLOCKS", 2)
    outcomes: list[Outcome] = [
        make_quiet_finding(image_score=0.8),
        make_finding("low.png", image_score=0.91),
        make_skipped(),
        make_quiet_finding(image_score=0.7),
        make_finding("high.png", image_score=0.99),
    ]
    assert shown_in_blocks(outcomes) == {2, 5}
    _pdf(outcomes)
    assert any(text.startswith("2 of 4 scanned images") for text in written)


def test_a_table_cut_short_says_so(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    """Nobody takes the first rows for all."""
    monkeypatch.setattr(module, "LISTED", 1)
    _pdf([make_finding("one.png"), make_quiet_finding("two.png")])
    assert any(text.startswith("The first 1 of 2 images") for text in written)
