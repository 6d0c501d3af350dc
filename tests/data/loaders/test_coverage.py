from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders.coverage import COVERAGE
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import coverage, kinds, listed, named, rename_all

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [(f"{number}t.tif", f"{number}forged.tif", "copy-move") for number in (2, 10, 41)]
AUTHENTIC = [(f"{number}.tif", None, "") for number in (2, 10, 41)]


def test_numbers_are_sorted_as_numbers_and_paired_with_forged(tmp_path: Path) -> None:
    """2 before 10; never the masks of copy source and target, which lie beside and sort before."""
    loaded = COVERAGE.load(coverage(tmp_path))
    assert listed(loaded) == PAIRS + AUTHENTIC
    [note] = [each for each in loaded.anomalies if each.kind == "ignored"]
    assert note.message.startswith("6 files by other names were not used: 2copy.tif, 2paste.tif, 10copy.tif")
    assert kinds(loaded) == {"ignored"}


def test_both_images_of_a_scene_form_a_group(tmp_path: Path) -> None:
    """A split must not put 2.tif into training and 2t.tif into the test."""
    groups = {pair.image.name: pair.group for pair in COVERAGE.load(coverage(tmp_path)).pairs}
    assert groups["2.tif"] == groups["2t.tif"] == "2"
    assert groups["10t.tif"] == "10"


def test_layout_of_mvss_gives_the_same_pairs(tmp_path: Path) -> None:
    """Tampered and authentic images in folders of their own."""
    root = coverage(tmp_path)
    moves = [(f"image/{name}.tif", f"COVER/Au/{name}.tif") for name in (2, 10, 41)]
    rename_all(root, [*moves, ("image", "COVER/tampered"), ("mask", "COVER/mask")])
    assert listed(COVERAGE.load(root / "COVER")) == PAIRS + AUTHENTIC


def test_layout_of_imdl_benco_is_read(tmp_path: Path) -> None:
    """Masks renamed to their images, no authentic images."""
    root = coverage(tmp_path)
    moves = [(f"mask/{number}forged.tif", f"Gt/{number}t{end}.tif") for number, end in ((2, ""), (10, "_gt"), (41, ""))]
    rename_all(root, [*moves, ("image", "Tp"), ("mask", "unused")])
    found = [(image, mask) for image, mask, _ in listed(COVERAGE.load(root))]
    assert found[:3] == [("2t.tif", "2t.tif"), ("10t.tif", "10t_gt.tif"), ("41t.tif", "41t.tif")]


def test_missing_mask_is_named(tmp_path: Path) -> None:
    """The copy-move stays unpaired although two more masks of its number lie there."""
    root = coverage(tmp_path)
    (root / "mask" / "2forged.tif").unlink()
    loaded = COVERAGE.load(root)
    assert listed(loaded) == PAIRS[1:] + AUTHENTIC
    assert ("warning", "2t.tif") in named(loaded, "unpaired-image")


def test_unknown_layout_is_refused(tmp_path: Path) -> None:
    """The error says what was looked for."""
    rename_all(coverage(tmp_path), [("mask", "elsewhere/x")])
    with pytest.raises(DatasetError, match=r"Expected COVERAGE in .*found no folder mask or Gt"):
        COVERAGE.load(tmp_path)
