from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError
from nclforensics.pipelines.dataset_check import check_pairs, mask_of_size
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def save_pair(folder: Path, name: str, mask: NDArray[np.bool_] | None, *, authentic: bool = False) -> ImagePair:
    """Write an image of 48 x 64 pixels and its mask."""
    image = folder / f"{name}.png"
    cv2.imwrite(str(image), make_image())
    path = None
    if mask is not None:
        path = folder / f"{name}_mask.png"
        cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    return ImagePair(image, path, authentic)


def test_whole_pairs_are_usable(tmp_path: Path) -> None:
    """Order is kept; an authentic image may come with an empty mask."""
    pairs = [
        save_pair(tmp_path, "a", make_mask()),
        save_pair(tmp_path, "b", None, authentic=True),
        save_pair(tmp_path, "c", make_mask(box=None), authentic=True),
    ]
    checked = check_pairs(pairs)
    assert (tuple(pairs), (), 0) == (checked.usable, checked.skipped, checked.resized)


def test_unusable_pairs_are_named_with_their_reason(tmp_path: Path) -> None:
    """A broken image, a broken mask and an empty mask leave three images out, never silently."""
    pairs = [save_pair(tmp_path, name, make_mask()) for name in ("image", "mask")]
    pairs += [save_pair(tmp_path, "empty", make_mask(box=None)), save_pair(tmp_path, "good", make_mask())]
    pairs[0].image.write_bytes(b"no image")
    assert pairs[1].mask is not None
    pairs[1].mask.write_bytes(b"")
    checked = check_pairs(pairs)
    assert (pairs[3],) == checked.usable
    reasons = {pair.image.stem: reason for pair, reason in checked.skipped}
    assert sorted(reasons) == ["empty", "image", "mask"]
    assert "no JPEG" in reasons["image"]
    assert "mask_mask.png: the file is empty" in reasons["mask"]
    assert "tampered image is empty" in reasons["empty"]


def test_mask_of_another_size_is_resized_and_counted(tmp_path: Path) -> None:
    """A mask of half the size with the same aspect ratio is usable."""
    pair = save_pair(tmp_path, "a", make_mask(24, 32, box=(4, 4, 10, 12)))
    assert check_pairs([pair]).resized == 1
    assert pair.mask is not None
    assert np.array_equal(make_mask(box=(8, 8, 20, 24)), mask_of_size(pair.mask, (48, 64)))


@pytest.mark.parametrize(("height", "width"), [(64, 48), (48, 63), (24, 24)], ids=["transposed", "cropped", "square"])
def test_mask_of_another_shape_stops(tmp_path: Path, height: int, width: int) -> None:
    """A turned or cropped mask belongs to another picture."""
    pair = save_pair(tmp_path, "a", make_mask(height, width))
    with pytest.raises(DatasetError, match=r"a\.png has \(48, 64\)"):
        check_pairs([pair])


def test_inverted_masks_stop(tmp_path: Path) -> None:
    """Most masks marking most of their image are masks with black for tampered."""
    pairs = [save_pair(tmp_path, str(number), ~make_mask()) for number in range(3)]
    with pytest.raises(DatasetError, match=r"inverted\?"):
        check_pairs([*pairs, save_pair(tmp_path, "x", make_mask())])


def test_authentic_image_with_tampered_pixels_stops(tmp_path: Path) -> None:
    """The list contradicts itself."""
    with pytest.raises(DatasetError, match="listed as authentic"):
        check_pairs([save_pair(tmp_path, "a", make_mask(), authentic=True)])
