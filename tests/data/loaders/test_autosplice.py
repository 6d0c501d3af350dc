from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders.autosplice import AUTO_SPLICE, AUTO_SPLICE_75, AUTO_SPLICE_90
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import kinds, listed, masks, named, photos
from tests.data.loaders.miniatures_other import autosplice

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaded_set import Loader

PAIRS = [
    ("39406_0.jpg", "39406_mask.png", ""),
    ("39406_1.jpg", "39406_mask.png", ""),
    ("40574_2.jpg", "40574_mask.png", ""),
    ("39406.jpg", None, ""),
    ("40574.jpg", None, ""),
    ("62206.jpg", None, ""),
]


@pytest.mark.parametrize(("loader", "quality"), [(AUTO_SPLICE, 100), (AUTO_SPLICE_90, 90), (AUTO_SPLICE_75, 75)])
def test_each_quality_is_a_set_of_its_own(tmp_path: Path, loader: Loader, quality: int) -> None:
    """The three are the same images: their union would count each of them three times."""
    loaded = loader.load(autosplice(tmp_path))
    assert listed(loaded) == PAIRS
    assert {pair.image.parent.name for pair in loaded.pairs if pair.mask} == {f"Forged_JPEG{quality}"}
    assert kinds(loaded) == set()
    assert "never their union" in loader.facts.caveats[0]


def test_edits_and_original_of_a_photograph_form_a_group(tmp_path: Path) -> None:
    """Up to three edits have one original."""
    groups = [pair.group for pair in AUTO_SPLICE.load(autosplice(tmp_path)).pairs]
    assert groups == ["39406", "39406", "40574", "39406", "40574", "62206"]


def test_what_is_left_over_is_reported(tmp_path: Path) -> None:
    """An edit without mask, and a mask without edit."""
    root = autosplice(tmp_path)
    photos(root / "Forged_JPEG100", "5_0.jpg")
    masks(root / "Mask", "6_mask.png")
    loaded = AUTO_SPLICE.load(root)
    assert listed(loaded) == PAIRS
    assert ("warning", "5_0.jpg") in named(loaded, "unpaired-image")
    assert named(loaded, "unpaired-mask") == [("warning", "6_mask.png")]


@pytest.mark.parametrize("missing", ["Forged_JPEG90", "Mask"])
def test_folders_are_needed(tmp_path: Path, missing: str) -> None:
    """One quality does not stand in for another."""
    (autosplice(tmp_path) / missing).rename(tmp_path / "x")
    with pytest.raises(DatasetError, match=f"found no folder {missing}"):
        AUTO_SPLICE_90.load(tmp_path)
