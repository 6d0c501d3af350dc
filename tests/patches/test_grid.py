"""The patch grid covers the image and counts each pixel once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nclforensics.errors import ShapeError
from nclforensics.patches.grid import count_pixels, grid_size
from tests.reference import roles as reference

RAGGED = [(1, 1), (7, 9), (8, 8), (16, 24), (17, 23)]
ragged = pytest.mark.parametrize("size", RAGGED, ids=[f"{height}x{width}" for height, width in RAGGED])


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 64))
def test_the_grid_is_the_smallest_that_covers(height: int, width: int, stride: int) -> None:
    """The last row and column of patches hold at least one pixel, and no pixel is left out."""
    rows, columns = grid_size(height, width, stride)
    assert (rows - 1) * stride < height <= rows * stride
    assert (columns - 1) * stride < width <= columns * stride


@ragged
@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("partly", [False, True], ids=["all valid", "partly valid"])
def test_counts_equal_the_loop(size: tuple[int, int], stride: int, *, partly: bool) -> None:
    """Each patch has the number of tampered and of valid pixels that a loop finds in it."""
    masks = torch.rand(2, *size) < 0.5
    valid = torch.rand(2, *size) < 0.8 if partly else None
    counts = count_pixels(masks, stride, valid=valid)
    assert counts.tampered.shape == counts.valid.shape == (2, *grid_size(*size, stride))
    for image in range(2):
        zone = None if valid is None else valid[image]
        expected = reference.count_pixels(masks[image], stride, valid=zone)
        assert (counts.tampered[image].tolist(), counts.valid[image].tolist()) == expected


@ragged
def test_no_pixel_is_lost(size: tuple[int, int]) -> None:
    """The counts add up to the image's own."""
    masks = torch.rand(3, *size) < 0.3
    counts = count_pixels(masks, 8)
    assert counts.tampered.sum() == masks.sum()
    assert counts.valid.sum() == masks.numel()


def test_pixels_that_do_not_count_are_not_tampered() -> None:
    """Where the mask says tampered but the pixel is not to be scored, it is not counted."""
    masks = torch.ones(1, 8, 8, dtype=torch.bool)
    counts = count_pixels(masks, 8, valid=torch.zeros_like(masks))
    assert (counts.tampered.item(), counts.valid.item()) == (0, 0)


def test_masks_with_a_channel_are_refused() -> None:
    """The message names the expected and the found shape."""
    with pytest.raises(ShapeError, match=r"Expected masks \(B, H, W\), got \(1, 1, 8, 8\)"):
        count_pixels(torch.zeros(1, 1, 8, 8, dtype=torch.bool), 8)


def test_valid_pixels_of_another_shape_are_refused() -> None:
    """They are never broadcast."""
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"\(2, 8, 8\), got \(1, 8, 8\)"):
        count_pixels(masks, 8, valid=torch.ones(1, 8, 8, dtype=torch.bool))
