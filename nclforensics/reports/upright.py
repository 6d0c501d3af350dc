"""Turning pictures upright for the eye, as the EXIF orientation says; what is analysed is never turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# EXIF 2.32, tag 0x0112: whether rows and columns are swapped, then whether rows, then columns, are reversed.
_STEPS: Final = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

Box = tuple[int, int, int, int]


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels (H, W) or (H, W, C) as they are meant to be seen; an unknown orientation is taken for 1."""
    swap, reverse_rows, reverse_columns = _STEPS.get(orientation, _STEPS[1])
    turned = pixels.swapaxes(0, 1) if swap else pixels
    turned = turned[::-1] if reverse_rows else turned
    turned = turned[:, ::-1] if reverse_columns else turned
    return np.ascontiguousarray(turned)


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height after `upright`."""
    return (height, width) if _STEPS.get(orientation, _STEPS[1])[0] else (width, height)


def upright_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """Return where a box of an image lies after `upright`.

    Args:
        box: x, y, width and height in the stored pixels.
        width: Of the stored image.
        height: Of the stored image.
        orientation: As for `upright`.
    """
    swap, reverse_rows, reverse_columns = _STEPS.get(orientation, _STEPS[1])
    x, y, across, down = (box[1], box[0], box[3], box[2]) if swap else box
    shown_width, shown_height = upright_size(width, height, orientation)
    x = shown_width - x - across if reverse_columns else x
    y = shown_height - y - down if reverse_rows else y
    return x, y, across, down
