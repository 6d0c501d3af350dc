from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.formats import read_generic
from nclforensics.data.formats.mani_dataset import write_mani_dataset
from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.images import read_mask
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError, OutputError
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_pair_by_stem(tmp_path: Path) -> None:
    """Sorted order would pair a_mask.jpg with a.png; hidden files, Thumbs.db and lists are no images."""
    touch(tmp_path, "Tp/a.jpg", "Tp/a_mask.JPG", "Tp/c.tif", "Tp/.DS_Store", "Tp/Thumbs.db", "Gt/_list.txt")
    touch(tmp_path, "Gt/a.png", "Gt/a_mask.png", "Gt/c_gt.png", "Au/z.bmp")
    loaded = read_generic(tmp_path)
    named = [(pair.image.name, pair.mask and pair.mask.name, pair.authentic) for pair in loaded.pairs]
    expected = [("a.jpg", "a.png", False), ("a_mask.JPG", "a_mask.png", False), ("c.tif", "c_gt.png", False)]
    assert [*expected, ("z.bmp", None, True)] == named
    assert loaded.anomalies == ()


def test_case_of_folders_and_suffixes_does_not_matter(tmp_path: Path) -> None:
    """Archives made on Windows come with TP, GT and .JPG."""
    touch(tmp_path, "TP/a.JPG", "GT/A.PNG")
    assert [(pair.image.name, pair.mask and pair.mask.name) for pair in read_generic(tmp_path).pairs] == [
        ("a.JPG", "A.PNG")
    ]


@pytest.mark.parametrize(
    ("names", "kind", "path"),
    [
        (("Tp/a.jpg", "Tp/b.jpg", "Gt/a.png"), "unpaired-image", "Tp/b.jpg"),
        (("Tp/a.jpg", "Gt/a.png", "Gt/b.png"), "unpaired-mask", "Gt/b.png"),
        (("Tp/a.jpg", "Tp/a.png", "Tp/b.png", "Gt/a.png", "Gt/b.png"), "duplicate", "Tp/a.jpg"),
        (("Tp/a.jpg", "Gt/a_gt.png", "Gt/a_mask.png"), "unpaired-mask", "Gt/a_mask.png"),
        (("Tp/a.jpg", "Tp/b.xcf", "Gt/a.png"), "unreadable", "Tp/b.xcf"),
    ],
    ids=["image-alone", "mask-alone", "twins", "two-masks", "unknown-kind"],
)
def test_whatever_does_not_pair_up_is_an_error(tmp_path: Path, names: tuple[str, ...], kind: str, path: str) -> None:
    """One missing file does not shift the pairs behind it, and does not go unnoticed."""
    touch(tmp_path, *names)
    loaded = read_generic(tmp_path)
    assert len(loaded.pairs) == 1
    assert (kind, "error", tmp_path / path) in [(each.kind, each.severity, each.path) for each in loaded.anomalies]
    assert all(each.severity == "error" for each in loaded.anomalies)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    """A set without an image is no set."""
    touch(tmp_path, "Tp/.x", "Gt/.x")
    with pytest.raises(DatasetError, match="at least one image"):
        read_generic(tmp_path)


def test_written_set_is_paired_alike_by_name_and_by_sorted_order(tmp_path: Path) -> None:
    """IMDLBenCo zips two sorted listings: the same file name in two cameras and dots in names must not mislead it."""
    pairs: list[ImagePair] = []
    for place, stem in (("one", "a"), ("two", "a"), ("one", "a.k"), ("one", "B"), ("three", "x")):
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        image, mask = folder / f"{stem}.jpg", folder / f"{stem}_gt.png"
        truth = make_mask(box=(0, 0, 4, 4 + len(pairs)))
        cv2.imwrite(str(image), make_image(seed=len(pairs)))
        cv2.imwrite(str(mask), np.where(truth, 0, 255).astype(np.uint8))
        pairs.append(ImagePair(image, mask, authentic=False, mask_rule="dark"))
    pairs.append(ImagePair(pairs[0].image, None, authentic=True))
    out = tmp_path / "out"
    write_mani_dataset(pairs, out)
    zipped = list(zip(sorted((out / "Tp").iterdir()), sorted((out / "Gt").iterdir()), strict=True))
    assert [(pair.image, pair.mask) for pair in read_generic(out).pairs if not pair.authentic] == zipped
    for pair, (image, mask) in zip(pairs, zipped, strict=False):
        assert pair.image.read_bytes() == image.read_bytes()
        np.testing.assert_array_equal(read_ground_truth(pair), read_mask(mask))
    assert [pair.image.name for pair in read_generic(out).pairs if pair.authentic] == ["6_a.jpg"]


def test_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    """Somebody's files are not mixed with ours."""
    touch(tmp_path, "mine.txt")
    with pytest.raises(OutputError, match="empty or new folder"):
        write_mani_dataset([], tmp_path)
