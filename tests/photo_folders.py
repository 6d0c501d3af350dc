"""Folders of small made-up photos for the tests of the forge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.factories import make_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def make_photo(height: int = 150, width: int = 170, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return a smooth image with grain: uint8 (H, W, 3)."""
    grain = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return np.clip(make_image(height, width, seed=seed) + grain, 0, 255).astype(np.uint8)


def write_photo(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Save RGB, or RGB with alpha, in the format of the suffix (JPEG with OpenCV's default quality)."""
    swapped = pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]]
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(swapped))
    return path


def make_photo_folder(folder: Path, *, count: int = 6) -> Path:
    """Write `count` photos, JPEG and PNG in turn, and return the folder."""
    for number in range(count):
        write_photo(folder / f"{number}.{'png' if number % 2 else 'jpg'}", make_photo(seed=number))
    return folder


def make_cutout(side: int = 60) -> NDArray[np.uint8]:
    """Return a disk with alpha: uint8 (side, side, 4)."""
    opacity = np.zeros((side, side), np.uint8)
    cv2.circle(opacity, (side // 2, side // 2), side // 3, 255, -1)
    return np.dstack([make_photo(side, side, seed=99), opacity])
