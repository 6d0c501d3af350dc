from __future__ import annotations

import dataclasses
import json

import pytest

from nclforensics.reports.dataset_document import (
    AlignmentRow,
    AnomalyRow,
    DatasetReport,
    SetCounts,
    ShareRow,
    render_dataset_json,
    render_dataset_text,
    without_root,
)


def report(**changes: object) -> DatasetReport:
    """Return a report of a benchmark with one warning."""
    plain = DatasetReport(
        schema_version=1,
        tool="nclforensics",
        tool_version="0",
        name="coverage",
        title="COVERAGE",
        root="/data/cover",
        mask_rules=("bright: tampered where it is bright",),
        counts=SetCounts(98, 100, 100, 100, left_out=2, resized=9, unchecked=0, kinds={"copy-move": 98}),
        tampered_share=ShareRow(0.01, 0.112, 0.4),
        alignment=AlignmentRow("aligned", 98, 0.4, -1.2, 17.2, 7.0, 17.2, 1.0),
        anomalies=(AnomalyRow("resized", "warning", "It is scaled.", "/data/cover/image/41t.tif"),),
        caveats=("Old copies are swapped.",),
        usable=True,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_json_holds_everything() -> None:
    """The JSON is the document, field for field."""
    text = render_dataset_json(report())
    assert json.loads(text) == json.loads(json.dumps(dataclasses.asdict(report())))
    assert text.isascii()


@pytest.mark.parametrize(
    "words",
    [
        "COVERAGE",
        "/data/cover",
        "98 of 100 published (98 copy-move)",
        "9 masks are scaled",
        "11.2% median, 1.00% to 40.0%",
        "aligned (98 images, best fit at (+0, -1) pixels, 17.2 standard deviations)",
        "image/41t.tif: It is scaled.",
        "Note: Old copies are swapped.",
        "Usable: 0 errors, 1 warning.",
    ],
)
def test_text_shows(words: str) -> None:
    """What a reader needs, with paths below the set's folder."""
    assert words in " ".join(render_dataset_text(report(), width=200).split())


def test_many_anomalies_are_counted_in_the_text() -> None:
    """Ten of a kind are listed; the rest is in the JSON."""
    rows = tuple(AnomalyRow("empty-mask", "error", "It is empty.", f"/data/cover/{n}.png") for n in range(25))
    text = render_dataset_text(report(anomalies=rows, usable=False))
    assert text.count("It is empty.") == 10
    assert "... and 15 more" in text
    assert text.endswith("Not usable as it is: 25 errors, 0 warnings.\n")


def test_sets_of_ones_own_and_partial_looks_are_said_to_be_so() -> None:
    """No published number is made up, and pairs that --limit left out are counted."""
    counts = SetCounts(3, 0, None, None, left_out=0, resized=0, unchecked=7, kinds={})
    text = render_dataset_text(report(title=None, counts=counts, tampered_share=None))
    assert "published" not in text
    assert "7 pairs, because of --limit" in text


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    """A file name cannot move the cursor."""
    hostile = (AnomalyRow("ignored", "note", "Odd.", "/data/cover/\x1b[2J\udcff.png"),)
    text = render_dataset_text(report(anomalies=hostile))
    assert "\x1b" not in text
    assert r"\x1b[2J\udcff.png" in text


def test_paths_are_told_from_the_set_or_the_folder_of_its_list() -> None:
    """Both for a folder and for a list in it."""
    assert without_root("/a/b/x.png: like /a/b/y.png", "/a/b") == "x.png: like y.png"
    assert without_root("/a/b/x.png", "/a/b/list.json") == "x.png"
    assert without_root("s/images/t.png: its mask s/masks/t.png", "s") == "images/t.png: its mask masks/t.png"
    assert without_root("../ext/testset/t.png", "set") == "../ext/testset/t.png"
