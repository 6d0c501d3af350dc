from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders.cocoglide import COCO_GLIDE
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import kinds, listed, masks, named, photos
from tests.data.loaders.miniatures_other import cocoglide

if TYPE_CHECKING:
    from pathlib import Path

FAKE = "glide_inpainting_val2017_{}_up.png"


def test_images_and_masks_meet_by_the_number_of_the_photograph(tmp_path: Path) -> None:
    """Names differ in all three folders, class names hold spaces, and 2017 is not the number."""
    loaded = COCO_GLIDE.load(cocoglide(tmp_path))
    assert listed(loaded) == [
        (FAKE.format("73326"), "teddy bear_73326_mask.png", ""),
        (FAKE.format("114871"), "dining table_114871_mask.png", ""),
        (FAKE.format("563758"), "airplane_563758_mask.png", ""),
        ("airplane_563758.png", None, ""),
        ("dining table_114871.png", None, ""),
        ("teddy bear_73326.png", None, ""),
    ]
    assert kinds(loaded) == set()


def test_forgery_and_original_form_a_group(tmp_path: Path) -> None:
    """Divided between training and test, the test would show what was trained."""
    pairs = COCO_GLIDE.load(cocoglide(tmp_path)).pairs
    assert sorted(pair.group for pair in pairs if pair.authentic) == sorted(
        pair.group for pair in pairs if not pair.authentic
    )
    assert {pair.group for pair in pairs} == {"73326", "114871", "563758"}


def test_missing_mask_shifts_nothing(tmp_path: Path) -> None:
    """The one image without a mask is left out."""
    root = cocoglide(tmp_path)
    (root / "mask/airplane_563758_mask.png").unlink()
    loaded = COCO_GLIDE.load(root)
    assert [name for name, mask, _ in listed(loaded) if mask] == [FAKE.format("73326"), FAKE.format("114871")]
    assert ("warning", FAKE.format("563758")) in named(loaded, "unpaired-image")


def test_two_masks_of_one_photograph_are_an_error(tmp_path: Path) -> None:
    """Nobody can know which of them it is."""
    root = cocoglide(tmp_path)
    masks(root / "mask", "car_563758_mask.png")
    loaded = COCO_GLIDE.load(root)
    assert FAKE.format("563758") not in [name for name, _, _ in listed(loaded)]
    assert named(loaded, "duplicate") == [("error", "airplane_563758_mask.png")]


def test_masks_without_a_number_are_left_over(tmp_path: Path) -> None:
    """They are reported, not paired with an image that has no number either."""
    root = cocoglide(tmp_path)
    photos(root / "fake", "cat.png")
    masks(root / "mask", "cat_mask.png")
    loaded = COCO_GLIDE.load(root)
    assert ("warning", "cat.png") in named(loaded, "unpaired-image")
    assert named(loaded, "unpaired-mask") == [("warning", "cat_mask.png")]


@pytest.mark.parametrize("missing", ["fake", "mask"])
def test_folders_are_needed(tmp_path: Path, missing: str) -> None:
    """The error names the one that is not there."""
    (cocoglide(tmp_path) / missing).rename(tmp_path / "x")
    with pytest.raises(DatasetError, match=f"found no folder {missing}"):
        COCO_GLIDE.load(tmp_path)
