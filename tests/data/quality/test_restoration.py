"""Resized pictures and their maps, brought back and forth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid
from nclforensics.data.quality.restoration import Restoration
from tests.textures import make_texture


@pytest.mark.parametrize(("height", "width"), [(300, 240), (250, 200), (200, 300), (180, 150)])
def test_the_restored_picture_stands_where_it_stood(height: int, width: int) -> None:
    """Pixel by pixel, at its own size, but for what resizing lost."""
    once = cv2.GaussianBlur(make_texture(200, 160), (0, 0), 2)
    grid = BlockGrid(AxisGrid(height * 8 / 200, 0), AxisGrid(width * 8 / 160, 0))
    how = cv2.INTER_CUBIC if height > 200 else cv2.INTER_AREA
    resized = np.asarray(cv2.resize(once, (width, height), interpolation=how), np.uint8)
    restored = Restoration(grid, resized.shape).restored(resized)
    assert restored.shape == once.shape
    inside = np.s_[8:-8, 8:-8]
    difference = np.abs(restored[inside].astype(int) - once[inside])
    assert difference.mean() < 1
    shifted = np.abs(restored[inside].astype(int) - np.roll(once, 1, axis=1)[inside])
    assert difference.mean() < shifted.mean() / 2


def test_whole_blocks_are_kept() -> None:
    """From the first boundary inside to the last, of a picture whose borders cut through blocks."""
    grid = BlockGrid(AxisGrid(10, 4), AxisGrid(12.5, 0))
    pixels = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 125, 3)).copy()
    restored = Restoration(grid, pixels.shape).restored(pixels)
    assert restored.shape == (9 * 8, 10 * 8, 3)
    # The first pixel is 1.25 pixels high and starts at 4: its centre is that of pixel 4.125.
    assert restored[8:-8, 0, 0] == pytest.approx(4.125 + 1.25 * np.arange(8, 9 * 8 - 8), abs=0.51)


def test_a_map_comes_back_to_the_pixels_it_is_of() -> None:
    """Inside by place, at the borders from the nearest pixel."""
    grid = BlockGrid(AxisGrid(10, 4), AxisGrid(6, 3))
    restoration = Restoration(grid, (100, 100, 3))
    down, across = np.mgrid[:72, :128].astype(np.float32)
    for values, axis, centres in (
        (down, 0, (np.arange(100) + 0.5 - 4) / 10 * 8 - 0.5),
        (across, 1, (np.arange(100) + 0.5 - 3) / 6 * 8 - 0.5),
    ):
        back = restoration.mapped_back(values)
        assert back.shape == (100, 100)
        assert back.dtype == np.float32
        expected = np.clip(centres, 0, values.shape[axis] - 1)
        assert back.mean(axis=1 - axis) == pytest.approx(expected, abs=0.05)
