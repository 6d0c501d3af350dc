"""Small images and masks for every test: defaults for all that is not under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def make_image(height: int = 48, width: int = 64, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return a smooth random photograph-like image: uint8 (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def make_mask(
    height: int = 48, width: int = 64, *, box: tuple[int, int, int, int] | None = (8, 8, 20, 24)
) -> NDArray[np.bool_]:
    """Return a mask: bool (H, W), True in the box (top, left, bottom, right); None gives an empty mask."""
    mask = np.zeros((height, width), dtype=np.bool_)
    if box is not None:
        top, left, bottom, right = box
        mask[top:bottom, left:right] = True
    return mask
