from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from nclforensics.reports.document import (
    Counts,
    EvaluationReport,
    FlagRate,
    ImageRow,
    Measure,
    Protocol,
    SkippedItem,
)
from nclforensics.reports.render_csv import render_csv, safe_cell
from nclforensics.reports.render_json import render_json
from nclforensics.reports.render_text import render_text


def make_report(*, image: str = "a.jpg", skipped: int = 1) -> EvaluationReport:
    """Return a small report with an undefined figure."""
    words = {field.name: f"the {field.name}" for field in dataclasses.fields(Protocol)}
    rate = FlagRate("model", 0.91, 3, 100, 0.03, (0.0103, 0.0845), 4, 10, 0.4, (0.168, 0.687))
    figures: dict[str, float | None] = {"f1@0.5": 0.5, "pixel_auc": None}
    return EvaluationReport(
        schema_version=1,
        tool="nclforensics",
        tool_version="0.0.0",
        protocol=Protocol(**words),
        counts=Counts(listed=2 + skipped, tampered=1, authentic=1, skipped=skipped, resized_masks=0),
        measures=(
            Measure("f1@0.5", 0.5, (0.25, 0.75), 1, "a meaning", 0.125),
            Measure("image_auc", None, None, 0, "another meaning"),
        ),
        flag_rates=(rate,),
        warnings=("a warning",),
        images=(
            ImageRow(image, False, 64, 48, "ff00", 0.75, 0.2, figures),
            ImageRow("b.jpg", True, 64, 48, "00ff", 0.25, 0.0, {}),
        ),
        skipped=tuple(SkippedItem(f"{number}.jpg", "it is empty") for number in range(skipped)),
    )


def test_json_holds_the_whole_report() -> None:
    """Every field is there, undefined figures are null, and the text is ASCII."""
    report = make_report(image="\udcff\u00e4.jpg")
    text = render_json(report)
    data = json.loads(text)
    assert text.isascii()
    assert json.loads(json.dumps(dataclasses.asdict(report))) == data
    assert (data["schema_version"], data["measures"][1]["value"]) == (1, None)


def test_csv_has_one_row_an_image() -> None:
    """Measured and skipped images, undefined figures as empty cells."""
    rows = list(csv.DictReader(io.StringIO(render_csv(make_report()))))
    assert [row["image"] for row in rows] == ["a.jpg", "b.jpg", "0.jpg"]
    assert [row["status"] for row in rows] == ["measured", "measured", "skipped: it is empty"]
    assert tuple(rows[0][key] for key in ("f1@0.5", "pixel_auc", "authentic", "evidence")) == ("0.5", "", "0", "0.75")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1.jpg", "'=1+1.jpg"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("\t=a", "\\x09=a"),
        ("a\r\n=b", "a\\x0d\\x0a=b"),
    ],
)
def test_csv_cells_are_no_formulas(name: str, cell: str) -> None:
    """A spreadsheet would run a file name that begins like a formula; a line break would begin a new row."""
    row = next(csv.DictReader(io.StringIO(render_csv(make_report(image=name)), newline="")))
    assert cell == row["image"]
    assert safe_cell("plain name.jpg") == "plain name.jpg"


def test_text_shows_protocol_figures_and_warnings() -> None:
    """Whoever reads the value reads the protocol, the interval and the count beside it."""
    text = render_text(make_report())
    for expected in ("the threshold_rule", "0.500", "0.250 - 0.750", "0.125", "3/100", "0.010 - 0.085", "a warning"):
        assert expected in text
    assert "Skipped 0.jpg: it is empty" in text
    assert "image_auc" in text


def test_text_obeys_no_file_name() -> None:
    """Markup and control characters in a name are shown, not obeyed."""
    report = make_report()
    evil = dataclasses.replace(report, skipped=(SkippedItem("[bold]\x1b[31m.jpg", "x"),))
    text = render_text(evil)
    assert "\x1b" not in text
    assert "[bold]\\x1b[31m.jpg" in text


def test_text_names_only_some_of_many_skipped() -> None:
    """A thousand skipped images do not bury the figures."""
    text = render_text(make_report(skipped=25))
    assert text.count("Skipped ") == 10
    assert "15 more" in text


@pytest.mark.parametrize("width", [80, 110, 200])
def test_text_keeps_the_width(width: int) -> None:
    """No line is wider than the terminal."""
    assert max(map(len, render_text(make_report(), width=width).splitlines())) <= width
