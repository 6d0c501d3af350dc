from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.korus import KORUS
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import kinds, named, photos
from tests.data.loaders.miniatures_other import korus
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("place", ["", "data-images"])
def test_cameras_are_paired_each_on_its_own(tmp_path: Path, place: str) -> None:
    """DSC00012 is a name of two cameras; suffixes are in capitals."""
    loaded = KORUS.load(korus(tmp_path) / place)
    tampered = [pair for pair in loaded.pairs if not pair.authentic]
    assert len(tampered) == len(loaded.pairs) - len(tampered) == 5
    for pair in tampered:
        assert pair.mask is not None
        assert (pair.image.stem, pair.image.parts[-3]) == (pair.mask.stem, pair.mask.parts[-3])
    assert kinds(loaded) == set()


def test_grey_is_tampered_too(tmp_path: Path) -> None:
    """Of the three levels only black is authentic; cut at half of white, half of the region would be lost."""
    pair = KORUS.load(korus(tmp_path)).pairs[0]
    np.testing.assert_array_equal(make_mask(), read_ground_truth(pair))


def test_original_and_forgery_form_a_group_of_their_camera(tmp_path: Path) -> None:
    """The pristine image is the one that was edited."""
    pairs = KORUS.load(korus(tmp_path)).pairs
    groups = sorted(pair.group for pair in pairs if pair.authentic)
    assert groups == sorted(pair.group for pair in pairs if not pair.authentic)
    assert {"Nikon_D90/DSC00012", "Nikon_D7000/DSC00012"} <= set(groups)


def test_missing_camera_and_missing_mask_are_told(tmp_path: Path) -> None:
    """A quarter of the set must not be gone unnoticed."""
    root = korus(tmp_path)
    (root / "data-images/Sony_A57").rename(tmp_path / "x")
    (root / "data-images/Nikon_D90/ground-truth/DSC00012.PNG").unlink()
    loaded = KORUS.load(root / "data-images")
    assert any("no folder Sony_A57" in each.message for each in loaded.anomalies)
    assert ("warning", "DSC00012.TIF") in named(loaded, "unpaired-image")
    assert len([pair for pair in loaded.pairs if pair.mask]) == 3


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """Without the folders of its cameras it is another set."""
    photos(tmp_path / "images", "a.jpg")
    with pytest.raises(DatasetError, match="found no images in folders of its cameras"):
        KORUS.load(tmp_path)
