"""How much of the picture is empty or blown out, and whether it looks like a screen: surfaces with straight edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.quality.sampling import blocks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]

SIDE: Final = 16
TEXTURELESS_DEVIATION: Final = 1.0  # grey levels: less than the noise of a camera after JPEG
FLAT_RANGE: Final = 2  # grey levels: a JPEG of a surface of one colour
EDGE_LENGTH: Final = 64
EDGE_STEP: Final = 6
BRIGHTEST: Final = 240  # of 255: from there on a colour is clipped, or was before it was processed
CLIPPED_SHARE: Final = 0.3
ROWS: Final = 256  # that are looked at at once


def grey_of(window: NDArray[np.uint8]) -> Grey:
    """Return the brightness of RGB pixels, uint8 (H, W)."""
    return np.asarray(cv2.cvtColor(window, cv2.COLOR_RGB2GRAY), np.uint8)


def textureless_share(planes: list[Grey]) -> float:
    """Return the share of 16 x 16 blocks whose brightness deviates by less than one grey level, in [0, 1]."""
    blocks = np.concatenate([blocks_of(plane, SIDE) for plane in planes]).reshape(-1, SIDE * SIDE)
    return float((blocks.std(axis=1, dtype=np.float32) < TEXTURELESS_DEVIATION).mean()) if len(blocks) else 0.0


def flat_share(planes: list[Grey]) -> float:
    """Return the share of 16 x 16 blocks of one brightness, give or take a grey level, in [0, 1]."""
    blocks = np.concatenate([blocks_of(plane, SIDE) for plane in planes]).reshape(-1, SIDE * SIDE)
    return float((np.ptp(blocks, axis=1) <= FLAT_RANGE).mean()) if len(blocks) else 0.0


def highlights(pixels: NDArray[np.uint8], side: int) -> NDArray[np.bool_]:
    """Return which cells of a picture are blown out: in three tenths of their pixels a colour is clipped, or nearly so.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        side: Of a cell, in pixels, a divisor of 256; cells that reach over the border repeat its pixels.

    Returns:
        Bool (ceil(H / side), ceil(W / side)).
    """
    cells = []
    for start in range(0, len(pixels), ROWS):
        clipped = pixels[start : start + ROWS].max(axis=2) >= BRIGHTEST
        whole = np.pad(clipped, [(0, -length % side) for length in clipped.shape], mode="edge")
        down, across = (length // side for length in whole.shape)
        cells.append(whole.reshape(down, side, across, side).mean(axis=(1, 3)) >= CLIPPED_SHARE)
    return np.concatenate(cells)


def ruled_share(planes: list[Grey]) -> float:
    """Return the share of pixels on straight edges, level or upright, of surfaces of one brightness, in [0, 1].

    An edge counts where one side is exactly the same over 64 pixels, and the other side differs all along.
    """
    return sum(_level_edges(plane) + _level_edges(plane.T) for plane in planes) / sum(plane.size for plane in planes)


def _level_edges(plane: Grey) -> int:
    """Return the number of pixels on level edges."""
    if plane.shape[0] < 2 or plane.shape[1] <= EDGE_LENGTH:  # noqa: PLR2004 - an edge has two sides
        return 0
    plane = np.ascontiguousarray(plane)
    step = cv2.absdiff(plane[1:], plane[:-1])[:, 1:] >= EDGE_STEP
    steady = plane[:, 1:] == plane[:, :-1]
    line = np.ones((1, EDGE_LENGTH), np.uint8)
    above, below = (
        cv2.morphologyEx((side & step).view(np.uint8), cv2.MORPH_OPEN, line) for side in (steady[:-1], steady[1:])
    )
    return cv2.countNonZero(cv2.bitwise_or(above, below))
