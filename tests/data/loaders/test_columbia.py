from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.columbia import COLUMBIA
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import columbia, kinds, listed, masks, named, photos, rename_all
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    ("canong3_canonxt_sub_01.tif", "canong3_canonxt_sub_01_edgemask.jpg", "splice"),
    ("canong3_canonxt_sub_02.TIF", "canong3_canonxt_sub_02_edgemask.jpg", "splice"),
    ("nikond70_canonxt_sub_10.bmp", "nikond70_canonxt_sub_10_edgemask.jpg", "splice"),
]
AUTHENTIC = [("canong3_02_sub_01.tif", None, ""), ("nikond70_05_sub_02.bmp", None, "")]


def test_published_layout_is_read(tmp_path: Path) -> None:
    """TIFF and BMP pair with their edge masks; the edge masks of authentic images are no images."""
    loaded = COLUMBIA.load(columbia(tmp_path))
    assert listed(loaded) == PAIRS + AUTHENTIC
    assert kinds(loaded) == set()


def test_colour_masks_are_read_green_over_red(tmp_path: Path) -> None:
    """Bright and dark green alike are tampered, whatever JPEG did at the border."""
    box = make_mask(48, 64, box=(12, 14, 36, 50))
    for pair in COLUMBIA.load(columbia(tmp_path)).pairs[:3]:
        assert (read_ground_truth(pair) != box).mean() < 0.01


def test_converted_masks_are_read_bright(tmp_path: Path) -> None:
    """Black and white masks of a ManiDataset bear no "edgemask" in their names."""
    photos(tmp_path / "Tp", "a_b_sub_01.tif", "a_b_sub_02.tif")
    masks(tmp_path / "Gt", "a_b_sub_01.png", "a_b_sub_02_gt.png")
    loaded = COLUMBIA.load(tmp_path)
    assert [pair.mask_rule for pair in loaded.pairs] == ["bright", "bright"]
    assert read_ground_truth(loaded.pairs[1])[10, 10]


def test_moved_edge_masks_keep_their_rule(tmp_path: Path) -> None:
    """The layout of IMDL-BenCo with the original masks is read by colour as well."""
    moves = [("4cam_splc/edgemask", "Gt"), ("4cam_splc", "Tp"), ("4cam_auth", "Au")]
    rename_all(columbia(tmp_path), moves)
    loaded = COLUMBIA.load(tmp_path)
    assert listed(loaded) == PAIRS + AUTHENTIC
    assert {pair.mask_rule for pair in loaded.pairs if pair.mask} == {"green-over-red"}


def test_missing_mask_is_named(tmp_path: Path) -> None:
    """The images behind it keep their own masks."""
    root = columbia(tmp_path)
    (root / "4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.jpg").unlink()
    loaded = COLUMBIA.load(root)
    assert listed(loaded) == PAIRS[1:] + AUTHENTIC
    assert ("warning", "canong3_canonxt_sub_01.tif") in named(loaded, "unpaired-image")


@pytest.mark.parametrize("gone", ["4cam_splc", "4cam_splc/edgemask"])
def test_unknown_layout_is_refused(tmp_path: Path, gone: str) -> None:
    """The error says what was looked for."""
    rename_all(columbia(tmp_path), [(gone, "elsewhere/x")])
    with pytest.raises(DatasetError, match=f"Expected Columbia Uncompressed in .*found no folder {gone} "):
        COLUMBIA.load(tmp_path)
