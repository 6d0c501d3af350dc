"""The report on a scan as PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
