"""The report on a scan as CSV."""

from __future__ import annotations

import csv
import dataclasses
from typing import TYPE_CHECKING

import pytest

from nclforensics.reports.render_scan_csv import COLUMNS, render_scan_csv
from tests.scan_runs import COPY, FACTS, make_document, make_finding, make_skipped

if TYPE_CHECKING:
    from nclforensics.results import Outcome


def _rows(*outcomes: Outcome) -> list[dict[str, str]]:
    lines = list(render_scan_csv(make_document(outcomes), outcomes))
    assert lines[0] == ",".join(COLUMNS) + "\n"
    return list(csv.DictReader(lines))


def test_a_row_says_everything_about_its_image() -> None:
    """It can be cut out of its table: image, result, hashes, model and rate stand in it."""
    (row,) = _rows(make_finding(notes=("one", "two")))
    expected = {
        "image": "photo.png",
        "outcome": "localized evidence",
        "image_score": "0.98",
        "threshold": "0.9",
        "false_positive_rate": "0.05",
        "regions": "1",
        "boxes": "10 20 30 40 1200",
        "notes": "one; two",
        "sha256": "a" * 64,
        "mask_sha256": "b" * 64,
        "overlay": "",
        "case": "2026-117",
        "weights_sha256": "f" * 64,
    }
    assert {name: row[name] for name in expected} == expected


def test_copies_are_told_with_where_they_come_from() -> None:
    """Where it is known which place is the copy."""
    (row,) = _rows(make_finding(copies=(COPY, dataclasses.replace(COPY, directed=False))))
    assert row["copies"] == "10 20 31 42 from 1 2 30 40; 10 20 31 42 and 1 2 30 40"


def test_quality_facts_have_columns() -> None:
    """They can be sorted and counted in a spreadsheet; empty where they were not asked for."""
    with_facts, without = _rows(make_finding(quality=FACTS), make_finding())
    assert (with_facts["jpeg_quality"], with_facts["upscaled"], with_facts["near_uniform"]) == ("85", "True", "False")
    assert without["jpeg_quality"] == without["upscaled"] == ""


def test_a_skipped_image_has_a_row_with_its_reason() -> None:
    """Silence about an image would read as nothing found; its score is empty, not 0."""
    (row,) = _rows(make_skipped())
    assert (row["outcome"], row["reason"], row["image_score"]) == (
        "skipped",
        "Cannot decode: the file is cut short.",
        "",
    )


@pytest.mark.parametrize("name", ["=1+1.jpg", "+cmd.jpg", "-2.jpg", "@SUM(A1).jpg", "=HYPERLINK(1).jpg"])
def test_no_name_is_a_formula(name: str) -> None:
    """A spreadsheet takes none of these cells for something to run."""
    (row,) = _rows(make_finding(name))
    assert row["image"] == f"'{name}"


def test_a_name_cannot_begin_a_row() -> None:
    """Line breaks and tabs of a name are escaped, so that every line is one image."""
    outcome = make_finding("a\n=1+1,\t\u202e.jpg")
    lines = list(render_scan_csv(make_document([outcome]), [outcome]))
    assert len("".join(lines).splitlines()) == 2
    assert "\u202e" not in lines[1]
