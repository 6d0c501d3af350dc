from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.imd2020 import IMD2020
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import imd2020, kinds, listed, masks, named, photos, write
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    ("00030_fake.jpg", "00030_fake_mask.png", ""),
    ("c8tf5mq_0.png", "c8tf5mq_0_mask.png", ""),
    ("00031_fake.JPG", "00031_fake_mask.png", ""),
]
AUTHENTIC = [("1a1ogs_orig.jpg", None, ""), ("z14_orig.jpg", None, "")]


def test_each_folder_is_paired_for_itself(tmp_path: Path) -> None:
    """Names repeat across folders; only the one known mismatch is left out, not its namesake."""
    loaded = IMD2020.load(imd2020(tmp_path))
    assert listed(loaded) == PAIRS + AUTHENTIC
    assert all(pair.mask is None or pair.mask.parent == pair.image.parent for pair in loaded.pairs)
    [bad] = [each for each in loaded.anomalies if each.kind == "known-bad"]
    assert bad.path == tmp_path / "z14" / "00030_fake.jpg"
    assert kinds(loaded) == {"known-bad"}


def test_corrected_mask_brings_the_mismatch_back(tmp_path: Path) -> None:
    """With the mask of IML-Dataset-Corrections the image counts as any other."""
    masks(imd2020(tmp_path) / "z14", "00030_fake_mask.png")
    assert kinds(IMD2020.load(tmp_path)) == set()


def test_only_the_known_mismatch_is_left_out(tmp_path: Path) -> None:
    """Its namesake in another folder is for the check of sizes, as every other image."""
    masks(imd2020(tmp_path) / "1a1ogs", "00030_fake_mask.png", height=20)
    assert listed(IMD2020.load(tmp_path)) == PAIRS + AUTHENTIC


def test_folders_are_groups(tmp_path: Path) -> None:
    """Manipulations of one original stay together in a split."""
    groups = [pair.group for pair in IMD2020.load(imd2020(tmp_path)).pairs]
    assert groups == ["1a1ogs", "1a1ogs", "z14", "1a1ogs", "z14"]


def test_faint_masks_count(tmp_path: Path) -> None:
    """Everything above zero is tampered: a mask of grey 60 is not empty."""
    write(imd2020(tmp_path) / "z14" / "00031_fake_mask.png", make_mask().astype("uint8") * 60)
    assert read_ground_truth(IMD2020.load(tmp_path).pairs[2]).any()


def test_unpacked_archive_is_entered(tmp_path: Path) -> None:
    """The folders may lie one level deeper."""
    imd2020(tmp_path / "IMD2020")
    assert listed(IMD2020.load(tmp_path)) == PAIRS + AUTHENTIC


def test_layout_of_imdl_benco_is_read(tmp_path: Path) -> None:
    """In a merged folder nothing tells the originals apart, so no groups are made up."""
    photos(tmp_path / "Tp", "00030_fake.jpg", "c8tf5mq_0.png")
    masks(tmp_path / "Gt", "c8tf5mq_0_mask.png")
    masks(tmp_path / "Gt", "00030_fake.png", height=20)
    loaded = IMD2020.load(tmp_path)
    assert listed(loaded) == [("c8tf5mq_0.png", "c8tf5mq_0_mask.png", "")]
    assert named(loaded, "known-bad") == [("note", "00030_fake.jpg")]
    assert loaded.pairs[0].group == ""
    assert "share an original is unknown" in loaded.indivisible
    assert IMD2020.load(imd2020(tmp_path / "whole")).indivisible == ""


def test_unpaired_files_are_named(tmp_path: Path) -> None:
    """A manipulation without mask and a mask without manipulation."""
    root = imd2020(tmp_path)
    (root / "1a1ogs" / "c8tf5mq_0_mask.png").rename(root / "1a1ogs" / "c8tf5mq_1_mask.png")
    loaded = IMD2020.load(root)
    assert ("warning", "c8tf5mq_0.png") in named(loaded, "unpaired-image")
    assert named(loaded, "unpaired-mask") == [("warning", "c8tf5mq_1_mask.png")]


def test_unknown_layout_is_refused(tmp_path: Path) -> None:
    """The synthetic part, or anything else without originals, is not this set."""
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    with pytest.raises(DatasetError, match="found no folder with an image named <id>_orig"):
        IMD2020.load(tmp_path)


def test_masks_saved_as_jpeg_are_cut_in_the_middle(tmp_path: Path) -> None:
    """Their black is not 0 everywhere, so that everything above zero would be too much."""
    folder = imd2020(tmp_path) / "z14"
    written = next(folder.glob("*_mask.png"))
    written.unlink()
    write(written.with_suffix(".jpg"), make_mask().astype("uint8") * 255)
    rules = {pair.mask.suffix: pair.mask_rule for pair in IMD2020.load(tmp_path).pairs if pair.mask is not None}
    assert rules == {".png": "above-zero", ".jpg": "bright"}
