from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.dso1 import DSO_1
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import kinds, listed, masks, named, photos, rename_all
from tests.data.loaders.miniatures_other import dso1
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    ("splicing-01.png", "splicing-01.png", "splice"),
    ("splicing-02.png", "splicing-02.png", "splice"),
    ("splicing-100.png", "splicing-100.png", "splice"),
    ("normal-01.png", None, ""),
    ("normal-100.png", None, ""),
]


@pytest.mark.parametrize("place", ["", "tifs-database", "tifs-database/DSO-1"])
def test_archive_is_read_from_any_of_its_folders(tmp_path: Path, place: str) -> None:
    """Splices and authentic images lie in one folder; the masks in another with the names of the splices."""
    loaded = DSO_1.load(dso1(tmp_path) / place)
    assert listed(loaded) == PAIRS
    assert kinds(loaded) == set()


def test_black_is_tampered(tmp_path: Path) -> None:
    """A public project read these masks as they are and reported an IoU of .86 for nothing."""
    loaded = DSO_1.load(dso1(tmp_path))
    assert {pair.mask_rule for pair in loaded.pairs if pair.mask} == {"dark"}
    np.testing.assert_array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))


def test_converted_copy_is_recognized(tmp_path: Path) -> None:
    """Masks that are mostly black by the median are read as white = tampered, and that is said."""
    loaded = DSO_1.load(dso1(tmp_path, converted=True))
    np.testing.assert_array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))
    assert named(loaded, "inverted") == [("warning", None)]


def test_one_large_splice_does_not_turn_the_set(tmp_path: Path) -> None:
    """The median decides; damaged masks have no say."""
    truth = dso1(tmp_path) / "tifs-database/DSO-1-Fake-Images-Masks"
    masks(truth, "splicing-01.png", white=True)
    assert DSO_1.load(tmp_path).pairs[0].mask_rule == "dark"
    for name in ("splicing-01.png", "splicing-02.png"):
        (truth / name).write_bytes(b"x")
    assert DSO_1.load(tmp_path).pairs[0].mask_rule == "dark"


def test_splice_without_mask_is_left_out(tmp_path: Path) -> None:
    """In sorted order all masks after it would shift."""
    root = dso1(tmp_path)
    (root / "tifs-database/DSO-1-Fake-Images-Masks/splicing-01.png").unlink()
    loaded = DSO_1.load(root)
    assert listed(loaded) == PAIRS[1:]
    assert ("warning", "splicing-01.png") in named(loaded, "unpaired-image")


def test_layout_of_imdlbenco(tmp_path: Path) -> None:
    """Tp, Gt and Au with the names of the set."""
    base = dso1(tmp_path) / "tifs-database"
    names = [name for name, _, _ in PAIRS]
    rename_all(base, [(f"DSO-1/{name}", f"{'Tp' if 'spl' in name else 'Au'}/{name}") for name in names])
    rename_all(base, [("DSO-1-Fake-Images-Masks", "Gt")])
    shutil.rmtree(base / "DSO-1")
    assert listed(DSO_1.load(base)) == PAIRS


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """Masks alone, or images of other names, are not this set."""
    photos(tmp_path / "DSO-1", "a.png")
    with pytest.raises(DatasetError, match="found no folder of masks"):
        DSO_1.load(tmp_path)
    masks(tmp_path / "DSO-1-Fake-Images-Masks", "a.png")
    with pytest.raises(DatasetError, match=r"found no image called splicing-NN\.png"):
        DSO_1.load(tmp_path)
