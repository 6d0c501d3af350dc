from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders import defacto as module
from nclforensics.data.loaders.defacto import DEFACTO, DEFACTO_12K
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import kinds, listed, named, photos, rename_all
from tests.data.loaders.miniatures_other import DEFACTO_NAMES, defacto, defacto_12k
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet

FORGERIES = {
    ("7_000000536154.tif", "7_000000536154.jpg", "copy-move"),
    ("10_000000300786.tif", "10_000000300786.jpg", "copy-move"),
    ("7_000000536154.tif", "7_000000536154.jpg", "splice"),
    ("19143_000000108129.tif", "19143_000000108129.jpg", "splice"),
    ("0_000000411241.tif", "0_000000411241.tif", "removal"),
    ("3_000000536154.tif", "3_000000536154.tif", "removal"),
}


def folders_agree(loaded: LoadedSet) -> bool:
    """Return whether image and mask of every pair come from the same part of the set."""
    parts = [(pair.image.parts[-3], pair.mask.parts[-3]) for pair in loaded.pairs if pair.mask]
    return all(image.lower().rsplit("im", 1)[0] == mask.lower().rsplit("anno", 1)[0] for image, mask in parts)


@pytest.mark.parametrize("naming", DEFACTO_NAMES)
def test_parts_are_paired_each_on_its_own(tmp_path: Path, naming: str) -> None:
    """Names repeat across parts; copy-moves and splices have JPEG masks, removals TIFF; both namings of folders."""
    loaded = DEFACTO.load(defacto(tmp_path, naming))
    assert set(listed(loaded)) == FORGERIES
    assert len(loaded.pairs) == len(FORGERIES)
    assert {pair.mask.parent.name for pair in loaded.pairs if pair.mask} == {"probe_mask"}
    assert kinds(loaded) == set()


def test_image_and_mask_come_from_the_same_part(tmp_path: Path) -> None:
    """7_000000536154 is a copy-move and a splice."""
    loaded = DEFACTO.load(defacto(tmp_path, "mvss"))
    numbers = [(pair.image.parts[-3][-1], pair.mask.parts[-3][-1]) for pair in loaded.pairs if pair.mask]
    assert all(image == mask for image, mask in numbers)


def test_jpeg_masks_are_cut_at_half_of_white(tmp_path: Path) -> None:
    """Above zero, the ringing of the JPEG would count as tampered."""
    loaded = DEFACTO.load(defacto(tmp_path))
    for pair in loaded.pairs:
        np.testing.assert_array_equal(make_mask(), read_ground_truth(pair))


def test_forgeries_of_one_photograph_form_a_group(tmp_path: Path) -> None:
    """The last field is the number of the COCO photograph: 7_000000536154 and 3_000000536154 share it."""
    groups = {pair.image.name: pair.group for pair in DEFACTO.load(defacto(tmp_path)).pairs}
    assert groups["7_000000536154.tif"] == groups["3_000000536154.tif"] == "000000536154"


def test_every_part_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """The Kaggle archives unpack that way."""
    defacto(tmp_path / "x")
    moves = [
        (f"x/{part}", f"DEFACTO/defacto-{part[:8]}/{part}") for part in ("splicing_1_img", "splicing_1_annotations")
    ]
    rename_all(tmp_path, moves)
    loaded = DEFACTO.load(tmp_path / "DEFACTO")
    assert listed(loaded) == [("7_000000536154.tif", "7_000000536154.jpg", "splice")]


def test_lost_and_surplus_files_are_reported(tmp_path: Path) -> None:
    """Without its mask an image is left out, and no other image gets it."""
    root = defacto(tmp_path)
    (root / "copymove_annotations/probe_mask/7_000000536154.jpg").unlink()
    (root / "inpainting_img/img/0_000000411241.tif").unlink()
    loaded = DEFACTO.load(root)
    assert set(listed(loaded)) == FORGERIES - {
        ("7_000000536154.tif", "7_000000536154.jpg", "copy-move"),
        ("0_000000411241.tif", "0_000000411241.tif", "removal"),
    }
    assert ("error", None) in named(loaded, "unpaired-image")  # half of the copy-moves
    assert ("warning", "7_000000536154.tif") in named(loaded, "unpaired-image")
    assert named(loaded, "unpaired-mask") == [("warning", "0_000000411241.tif")]


def test_donor_masks_are_never_taken_for_probe_masks(tmp_path: Path) -> None:
    """A copy with donor masks only has no ground truth."""
    root = defacto(tmp_path)
    for part in ("copymove", "splicing_1", "splicing_5"):
        rename_all(root, [(f"{part}_annotations/probe_mask", f"away/{part}")])
    rename_all(root, [("inpainting_annotations/probe_mask", "away/inpainting")])
    with pytest.raises(DatasetError, match="found no part with images and masks"):
        DEFACTO.load(root)


def test_faces_are_left_out(tmp_path: Path) -> None:
    """Only copy-moves, splices and removals are read; that is said."""
    root = defacto(tmp_path)
    photos(root / "face_morphing" / "face_morphing_img" / "img", "1.jpg")
    loaded = DEFACTO.load(root)
    assert set(listed(loaded)) == FORGERIES
    assert named(loaded, "ignored") == [("note", "face_morphing"), ("note", "face_morphing_img")]


def test_rounded_count_of_the_owners_is_met_within_a_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They speak of about 149,000; a set without its copy-moves is told all the same."""
    root = defacto(tmp_path)
    assert named(DEFACTO.load(root), "count") == [("warning", None)]
    monkeypatch.setattr(module, "_FACTS", replace(DEFACTO.facts, tampered=6))
    assert named(DEFACTO.load(root), "count") == []


@pytest.mark.parametrize("naming", DEFACTO_NAMES)
def test_list_of_mvss_chooses_12k_images(tmp_path: Path, naming: str) -> None:
    """Only what is listed, wherever this copy has it; whatever else lies beside it is no anomaly."""
    loaded = DEFACTO_12K.load(defacto_12k(tmp_path, naming))
    assert set(listed(loaded)) == {
        ("7_000000536154.tif", "7_000000536154.jpg", "copy-move"),
        ("19143_000000108129.tif", "19143_000000108129.jpg", "splice"),
        ("0_000000411241.tif", "0_000000411241.tif", "removal"),
        ("COCO_test2014_000000409136.jpg", None, ""),
    }
    assert folders_agree(loaded)
    assert [pair.group for pair in loaded.pairs if pair.authentic] == ["000000409136"]
    assert kinds(loaded) == set()


def test_listed_files_that_nobody_has_are_told(tmp_path: Path) -> None:
    """A missing photograph of COCO and a missing mask are two different things."""
    root = defacto_12k(tmp_path)
    (root / "CoCo2014/test2014/COCO_test2014_000000409136.jpg").unlink()
    (root / "DEFACTO/Copy-Move-annotations/probe_mask/7_000000536154.jpg").unlink()
    loaded = DEFACTO_12K.load(root)
    assert len(loaded.pairs) == 2
    assert named(loaded, "unpaired-image") == [("warning", "7_000000536154.tif"), ("error", None)], "more than a tenth"
    assert named(loaded, "count")[0] == ("warning", "COCO_test2014_000000409136.jpg")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """The list is needed for the 12,000, parts with masks for the whole."""
    photos(tmp_path / "images", "a.jpg")
    with pytest.raises(DatasetError, match=r"found no list DEFACTO12k-test\.txt"):
        DEFACTO_12K.load(tmp_path)
    with pytest.raises(DatasetError, match="found no part"):
        DEFACTO.load(tmp_path)
