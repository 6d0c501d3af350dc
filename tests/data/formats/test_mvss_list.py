from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.formats import read_generic
from nclforensics.data.formats.mvss_list import write_mvss_list
from nclforensics.data.images import read_mask
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError, OutputError
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path


def make_list(folder: Path, *lines: str) -> Path:
    """Write a list and empty files for all that it names but those called gone."""
    path = folder / "list.txt"
    path.write_text("\n".join(lines) + "\n")
    names = [f"{name}.{suffix}" for name in "abcm" for suffix in ("jpg", "png", "tif")]
    for name in (*names, "CASIA 2 Groundtruth/a b_gt.png", "Tp/a b.TIF"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return path


def test_labels_and_none(tmp_path: Path) -> None:
    """None is an authentic image; a label of 1 says tampered and nothing about the kind."""
    path = make_list(tmp_path, "./a.jpg ./m.png 1", "", "b.jpg None 0")
    assert read_generic(path).pairs == (
        ImagePair(tmp_path / "a.jpg", tmp_path / "m.png", authentic=False),
        ImagePair(tmp_path / "b.jpg", None, authentic=True),
    )


def test_casia_v1_plus_tells_splices_from_copy_moves(tmp_path: Path) -> None:
    """Its labels are 0, 1 and 2; taking only 1 as tampered would turn the splices into authentic images."""
    path = make_list(tmp_path, "a.jpg m.png 2", "b.jpg m.png 1", "c.jpg None 0")
    assert [(pair.authentic, pair.kind) for pair in read_generic(path).pairs] == [
        (False, "splice"),
        (False, "copy-move"),
        (True, ""),
    ]


def test_names_may_hold_spaces(tmp_path: Path) -> None:
    """CASIA's masks lie in a folder called "CASIA 2 Groundtruth"."""
    path = make_list(tmp_path, "Tp/a b.TIF CASIA 2 Groundtruth/a b_gt.png 1")
    pair = read_generic(path).pairs[0]
    assert (pair.image.name, pair.mask and pair.mask.name) == ("a b.TIF", "a b_gt.png")


@pytest.mark.parametrize("line", ["a.jpg m.png", "a.jpg 1", "a.jpg m.png yes", "a m 1"])
def test_other_lines_are_refused(tmp_path: Path, line: str) -> None:
    """The error names the line."""
    path = make_list(tmp_path, "a.jpg m.png 1", line)
    with pytest.raises(DatasetError, match="line 2"):
        read_generic(path)


def test_missing_mask_and_missing_file_are_errors(tmp_path: Path) -> None:
    """A tampered image with None for a mask is not an authentic one."""
    path = make_list(tmp_path, "a.jpg None 1", "gone.jpg m.png 1", "b.jpg gone.png 1", "c.jpg m.png 1")
    loaded = read_generic(path)
    assert [pair.image.name for pair in loaded.pairs] == ["c.jpg"]
    assert [(each.kind, each.severity) for each in loaded.anomalies] == [
        ("unpaired-image", "error"),
        ("unreadable", "error"),
        ("unpaired-image", "error"),
    ]


def test_written_list_reads_back(tmp_path: Path) -> None:
    """Masks that other tools would misread are written anew; the rest is as it was."""
    truth = make_mask()
    cv2.imwrite(str(tmp_path / "a b.png"), make_image())
    cv2.imwrite(str(tmp_path / "m.png"), np.where(truth, 0, 255).astype(np.uint8))
    pairs = [
        ImagePair(tmp_path / "a b.png", tmp_path / "m.png", authentic=False, mask_rule="dark"),
        ImagePair(tmp_path / "m.png", None, authentic=True),
    ]
    write_mvss_list(pairs, tmp_path / "list.txt", tmp_path / "masks")
    first, second = read_generic(tmp_path / "list.txt").pairs
    assert (first.image, second) == (pairs[0].image, pairs[1])
    assert first.mask is not None
    np.testing.assert_array_equal(truth, read_mask(first.mask))


def test_name_that_would_be_split_is_refused(tmp_path: Path) -> None:
    """A space after a suffix inside a name would shift the columns."""
    cv2.imwrite(str(tmp_path / "a.jpg b.jpg"), make_image())
    cv2.imwrite(str(tmp_path / "m.png"), make_mask().astype(np.uint8) * 255)
    pair = ImagePair(tmp_path / "a.jpg b.jpg", tmp_path / "m.png", authentic=False)
    with pytest.raises(OutputError, match="separated by spaces"):
        write_mvss_list([pair], tmp_path / "list.txt", tmp_path / "masks")
