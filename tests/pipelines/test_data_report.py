"""What `nclf data check` says; single faults are tested with dataset_check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.sets import load_set
from nclforensics.pipelines import data_report
from nclforensics.pipelines.data_report import check_dataset, draw_contact_sheet
from nclforensics.reports.contact_sheet import render_contact_sheet
from tests.data.loaders.miniatures import masks, photos
from tests.planted_sets import COUNT, planted_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nclforensics.reports.contact_sheet import SheetEntry


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[SheetEntry]:
    """Collect what is drawn on sheets."""
    drawn: list[SheetEntry] = []

    def render(shown: Sequence[SheetEntry], *, title: str) -> bytes:
        drawn.extend(shown)
        return render_contact_sheet(shown, title=title)

    monkeypatch.setattr(data_report, "render_contact_sheet", render)
    return drawn


def test_report_tells_counts_rule_share_and_alignment(tmp_path: Path) -> None:
    """For a benchmark, beside the published numbers."""
    report, checked = check_dataset(load_set(f"dso-1:{planted_set('dso-1', tmp_path, 'none')}"))
    assert (report.name, report.title, report.root) == ("dso-1", "DSO-1", str(tmp_path))
    assert (report.counts.tampered, report.counts.expected_tampered) == (COUNT, 100)
    assert report.counts.kinds == {"splice": COUNT}
    assert report.mask_rules == ("dark: tampered where all channels are below half of full scale",)
    assert report.alignment.verdict == "aligned"
    assert report.tampered_share is not None
    assert report.tampered_share.smallest == min(checked.shares) > 0
    assert report.usable


def test_errors_come_first_and_make_the_set_unusable(tmp_path: Path) -> None:
    """Warnings of the loader follow what the masks show."""
    report, _ = check_dataset(load_set(f"coverage:{planted_set('coverage', tmp_path, 'inverted')}"))
    assert [row.severity for row in report.anomalies][:2] == ["error", "warning"]
    assert report.anomalies[0].kind == "inverted"
    assert not report.usable


def test_limit_looks_at_an_even_choice(tmp_path: Path) -> None:
    """Four of sixteen, and the other twelve are counted."""
    loaded = load_set(f"columbia:{planted_set('columbia', tmp_path, 'none')}")
    calls: list[None] = []
    report, checked = check_dataset(loaded, limit=4, progress=lambda: calls.append(None))
    assert checked.usable == loaded.pairs[::4]
    assert (len(calls), report.counts.unchecked) == (4, 12)


def test_sheet_shows_odd_pairs_first_and_one_of_each_kind(tmp_path: Path, entries: list[SheetEntry]) -> None:
    """A turned mask is shown, not laid over the image; a broken image leaves its cell empty; others follow."""
    root = planted_set("coverage", tmp_path, "none")
    masks(root / "mask", "9forged.tif", height=160, width=120)
    (root / "image" / "5t.tif").write_bytes(b"no image")
    (root / "image" / "7t.tif").write_bytes(b"no image")
    loaded = load_set(f"coverage:{root}")
    sheet = draw_contact_sheet(loaded, check_dataset(loaded)[1], entries=6)
    assert sheet is not None
    assert cv2.imdecode(np.frombuffer(sheet, np.uint8), cv2.IMREAD_COLOR) is not None
    assert [each.name for each in entries[:3]] == ["5t.tif", "9t.tif", "7t.tif"]
    assert [each.alarming for each in entries] == [True] * 3 + [False] * 3
    assert [each.remark.split(":")[0] for each in entries[:3]] == ["unreadable", "transposed", "unreadable"]
    assert (entries[0].image, entries[1].fits) == (None, False)
    assert all("copy-move" in each.remark for each in entries[3:])


def test_sheet_is_filled_with_odd_pairs_where_there_are_no_others(tmp_path: Path, entries: list[SheetEntry]) -> None:
    """Ten of sixteen masks have another size: all of them are shown, and then the six others."""
    root = planted_set("coverage", tmp_path, "none")
    masks(root / "mask", *(f"{number}forged.tif" for number in range(1, 11)), height=60, width=80)
    loaded = load_set(f"coverage:{root}")
    draw_contact_sheet(loaded, check_dataset(loaded)[1], entries=16)
    assert [each.alarming for each in entries] == [True] * 10 + [False] * 6


def test_set_without_anything_to_show_has_no_sheet(tmp_path: Path) -> None:
    """Authentic images have no mask to look at."""
    photos(tmp_path, "a.png")
    (tmp_path / "manifest.csv").write_text("image,authentic\na.png,1\n")
    loaded = load_set(str(tmp_path))
    assert draw_contact_sheet(loaded, check_dataset(loaded)[1]) is None
