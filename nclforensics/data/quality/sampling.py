"""Which pixels the quality facts are computed from: all of a small image, at most 16 fixed windows of a large one.

The cost is bounded and the choice depends on the image's size alone, so equal images give equal facts. Windows start on
the JPEG grid of the image's corner.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE: Final = 1024  # an axis of at most this length is taken whole
PIECES: Final = 4
PIECE: Final = 256
GRID: Final = 16  # side in pixels of the largest block that JPEG codes as a unit (4:2:0)

Luma = NDArray[np.float32]


def windows(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the parts of an image (H, W, 3) that stand for it, as views."""
    height, width = pixels.shape[:2]
    return [pixels[rows, columns] for rows, columns in product(_spans(height), _spans(width))]


def luma_of(window: NDArray[np.uint8]) -> Luma:
    """Return the brightness of RGB pixels as JPEG defines it, float32 (H, W) in [0, 255], not rounded."""
    return np.asarray(cv2.cvtColor(window.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)


def blocks_of(plane: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the whole blocks of a plane (H, W), shape (N, side, side); what is left at the ends is dropped."""
    down, across = plane.shape[0] // side, plane.shape[1] // side
    cut = plane[: down * side, : across * side].reshape(down, side, across, side)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1, side, side)


def _spans(length: int) -> Iterator[slice]:
    if length <= WHOLE:
        yield slice(0, length)
        return
    for piece in range(PIECES):
        start = (length - PIECE) * piece // (PIECES - 1) // GRID * GRID
        yield slice(start, start + PIECE)
