from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING

import pytest

from nclforensics.errors import UsageError
from nclforensics.reports.document import Measure, SkippedItem
from nclforensics.reports.render_csv import render_csv, render_robustness_csv, safe_cell
from nclforensics.reports.render_json import read_json, render_json, render_json_list
from nclforensics.reports.render_text import render_summary, render_text
from tests.evaluation_report import make_full_report, make_report

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport


def test_json_holds_the_whole_report() -> None:
    """Every field is there, undefined figures are null, and the text is ASCII."""
    report = make_report(image="\udcff\u00e4.jpg")
    text = render_json(report)
    data = json.loads(text)
    assert text.isascii()
    assert json.loads(json.dumps(dataclasses.asdict(report))) == data
    assert (data["schema_version"], data["measures"][1]["value"]) == (2, None)


@pytest.mark.parametrize("report", [make_report(), make_full_report(image="\udcff <b>.jpg")], ids=["small", "full"])
def test_json_can_be_read_back(report: EvaluationReport) -> None:
    """The very same document, whatever is optional in it; also out of a list of reports."""
    assert report == read_json(render_json(report))
    assert report == read_json(json.dumps(json.loads(render_json_list([report, report]))[1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema_version 2, found 1"),
        ({"counts": 7}, "counts holds 7"),
        ({"warnings": [3]}, "warnings holds 3"),
        ({"surprise": 1}, "the report holds"),
        ({"measures": [["f1", 0.5]]}, "measures holds"),
        ({"origin": {}}, "origin holds"),
    ],
    ids=["version", "type", "item", "key", "list", "missing"],
)
def test_json_of_something_else_is_refused(change: dict[str, object], message: str) -> None:
    """With a message that says where."""
    data = json.loads(render_json(make_report())) | change
    with pytest.raises(UsageError, match=message):
        read_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000], ids=["empty", "list", "number", "deep"])
def test_json_that_is_no_report_is_refused(text: str) -> None:
    """Never a traceback, whatever the file holds."""
    with pytest.raises(UsageError, match=r"Expected (the report\.json|a report)"):
        read_json(text)


def test_csv_of_several_reports_names_the_set() -> None:
    """One table, one header; a figure that one of them lacks is empty there."""
    other = dataclasses.replace(make_report(), protocol=dataclasses.replace(make_report().protocol, dataset="=b"))
    rows = list(csv.DictReader(io.StringIO(render_csv(make_report(), other))))
    assert [row["dataset"] for row in rows] == ["the dataset"] * 3 + ["'=b"] * 3


def test_robustness_csv_has_one_row_a_level() -> None:
    """Values, bounds, counts and false alarms; empty where undefined."""
    rows = list(csv.DictReader(io.StringIO(render_robustness_csv(make_full_report()))))
    assert [(row["family"], row["level"]) for row in rows][:2] == [("none", ""), ("jpeg", "quality 90")]
    assert (rows[0]["f1@0.5"], rows[0]["f1@0.5_low"], rows[0]["f1@0.5_n"]) == ("0.5", "0.1", "10")
    assert (rows[3]["pixel_auc"], rows[0]["authentic_flagged"], rows[0]["false_positive_rate"]) == ("", "3", "0.03")


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
        ("\t=a", "\\t=a"),
        ("a\r\n=b", "a\\r\\n=b"),
        ("lat\udce9in.jpg", "lat\\udce9in.jpg"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
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


def test_text_shows_peers_and_robustness() -> None:
    """The model stands among the published figures in order; every level of every degradation has a line."""
    lines = render_text(make_full_report()).splitlines()
    peers = [line for line in lines if "A Net" in line or "> the model" in line]
    assert ["A Net" in line for line in peers] == [True, False]
    assert any("the training_match" in line for line in lines)
    assert any("1080 px q65" in line and "0.200" in line and "3/100" in line for line in lines)


def test_summary_has_the_mean_over_sets() -> None:
    """Sets weigh the same however many images they have; a figure that a set lacks is a mean over the others."""
    first, second = make_report(), make_full_report()
    values = (dataclasses.replace(first.measures[0], value=0.9), dataclasses.replace(first.measures[1], value=0.75))
    text = render_summary([first, dataclasses.replace(second, measures=values)], width=110)
    mean = next(line for line in text.splitlines() if "mean of the sets" in line)
    assert "0.700" in mean
    assert "0.750 (1)" in mean
    assert "In brackets" in text
    assert "In brackets" not in render_summary([first, first])


def test_summary_fits_a_narrow_terminal() -> None:
    """Six figures and the longest name that it gives a row have one line each in 80 columns."""
    names = ("f1@fpr5", "f1@0.5", "f1_best", "iou@0.5", "pixel_auc", "image_auc")
    measures = tuple(Measure(name, 0.125, None, 100, "a meaning") for name in names)
    report = dataclasses.replace(make_report(), measures=measures)
    lines = render_summary([report, report], width=80).splitlines()
    assert any(all(name in line for name in names) for line in lines)
    assert lines[-1].startswith("mean of the sets")
    assert lines[-1].count("0.125") == len(names)
    assert max(map(len, lines)) <= 80


def test_text_obeys_no_file_name() -> None:
    """Markup and control characters in a name are shown, not obeyed."""
    report = make_report()
    evil = dataclasses.replace(report, skipped=(SkippedItem("[bold]\x1b[31m\udce9.jpg", "x"),))
    text = render_text(evil)
    assert "\x1b" not in text
    assert "[bold]\\x1b[31m\\udce9.jpg" in text


def test_text_names_only_some_of_many_skipped() -> None:
    """A thousand skipped images do not bury the figures."""
    text = render_text(make_report(skipped=25))
    assert text.count("Skipped ") == 10
    assert "15 more" in text


@pytest.mark.parametrize("width", [80, 110, 200])
def test_text_keeps_the_width(width: int) -> None:
    """No line is wider than the terminal."""
    assert max(map(len, render_text(make_report(), width=width).splitlines())) <= width


def test_text_splits_no_word_in_a_narrow_terminal() -> None:
    """The longest name of a measure leaves room for its interval, and sentences have lines of their own."""
    report = make_report()
    meaning = "mean of sensitivity and specificity, where an image is flagged if its evidence score is above 0.5"
    longest = Measure("image_balanced_accuracy@model", 0.5, (0.25, 0.75), 1000, meaning, 0.125)
    text = render_text(dataclasses.replace(report, measures=(longest,)), width=80)
    assert set(meaning.split()) <= set(text.split())
    row = next(line for line in text.splitlines() if "0.250 - 0.750" in line)
    assert all(cell in row for cell in (longest.name, "1000", "0.125"))
    assert any("3/100 0.030" in line and "0.010 - 0.085" in line for line in text.splitlines())
