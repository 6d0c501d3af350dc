"""A resized picture brought back to JPEG blocks of 8 x 8 pixels, and a map of that one brought onto its own pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.data.quality.block_grid import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid

_ROUNDING: Final = 1e-6  # of a block: a boundary that far outside of the picture is at its border


class Restoration:
    """Both ways between a resized picture and its whole blocks at 8 x 8 pixels.

    Args:
        grid: Where the blocks of the picture lie.
        shape: Height and width of the picture, each of at least one whole block.
    """

    def __init__(self, grid: BlockGrid, shape: tuple[int, ...]) -> None:
        height, width = shape[:2]
        down, across = _Axis(grid.rows, height), _Axis(grid.columns, width)
        self._shape, self._restored_shape = (height, width), (down.length, across.length)
        self._matrix = np.array([[across.scale, 0, across.offset], [0, down.scale, down.offset]], np.float64)

    def restored(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the whole blocks of the picture, (H, W, 3); what is left at its borders is dropped."""
        # Without a filter before a reduction: the values at the pixels before the enlargement are what is asked for.
        return np.asarray(self._warped(image, self._restored_shape, cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP))

    def mapped_back(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores of the restored picture on the pixels of the resized one; its borders get the nearest ones."""
        return np.asarray(self._warped(scores, self._shape, cv2.INTER_LINEAR))

    def _warped(self, values: NDArray[Any], shape: tuple[int, int], flags: int) -> NDArray[Any]:
        return cv2.warpAffine(values, self._matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


class _Axis:
    """How pixel n of the restored axis, `length` of them, lies at scale n + offset on the resized one."""

    def __init__(self, grid: AxisGrid, length: int) -> None:
        first = math.ceil(-grid.start / grid.period - _ROUNDING)
        last = math.floor((length - grid.start) / grid.period + _ROUNDING)
        self.scale = grid.period / BLOCK
        self.length = (last - first) * BLOCK
        # Pixels are as wide as one, and their values stand at their centres.
        self.offset = grid.start + first * grid.period + 0.5 * self.scale - 0.5
