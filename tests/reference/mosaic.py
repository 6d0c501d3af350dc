"""Traces of the colour filter array pixel by pixel, and photos of a made-up camera that has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mosaic_traces(pixels: NDArray[np.float64], *, floor: float) -> NDArray[np.float64]:
    """Return the features (16, H / 8, W / 8) of one RGB image (3, H, W) in [0, 1], by loops over cells and pixels."""
    rows, columns = pixels.shape[1] // 8, pixels.shape[2] // 8
    features = np.empty((16, rows, columns))
    for row in range(rows):
        for column in range(columns):
            levels = [
                [_level(plane * 255, 8 * row, 8 * column, place, floor) for place in range(4)] for plane in pixels
            ]
            means = [sum(places) / 4 for places in levels]
            relative = [value - mean for places, mean in zip(levels, means, strict=True) for value in places]
            green = levels[1]
            quincunx = abs((green[0] + green[3]) - (green[1] + green[2])) / 2
            features[:, row, column] = [*relative, *means, quincunx]
    return features


def _level(plane: NDArray[np.float64], top: int, left: int, place: int, floor: float) -> float:
    """Return the log of the mean squared prediction error (plus the floor) at a place of a cell's 2 x 2 mosaics."""
    errors = [
        _error(plane, row, column) ** 2
        for row in range(top + place // 2, top + 8, 2)
        for column in range(left + place % 2, left + 8, 2)
    ]
    return math.log(math.fsum(errors) / len(errors) + floor)


def _error(plane: NDArray[np.float64], row: int, column: int) -> float:
    """Return a pixel less the mean of its four neighbours; the image is mirrored about its outermost pixels."""
    height, width = plane.shape
    around = 0.0
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = abs(row + down), abs(column + right)
        around += plane[2 * (height - 1) - y if y >= height else y, 2 * (width - 1) - x if x >= width else x]
    return float(plane[row, column] - around / 4)


def bilinear_green(noise: NDArray[np.float64], *, measured: int) -> NDArray[np.float64]:
    """Return grey RGB (3, H, W) in [0, 1] whose pixels were measured on one quincunx and interpolated on the other.

    Args:
        noise: Values (H, W) around 0, in grey levels.
        measured: 0 where a pixel is measured if row + column is even, 1 if it is odd.
    """
    plane = np.full(noise.shape, 128.0)
    height, width = noise.shape
    is_measured = np.add.outer(np.arange(height), np.arange(width)) % 2 == measured
    plane[is_measured] += noise[is_measured]
    padded = np.pad(plane, 1, mode="reflect")
    around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    plane[~is_measured] = around[~is_measured]
    return np.stack([plane / 255] * 3)
