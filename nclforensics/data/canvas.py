"""The canvas that the forge edits, and how a patch is put on it.

A feathered edge blends over a few pixels; the mask holds the pixels where the new content has at least half of the
weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.histories import Image, Origin, Step, chance
from nclforensics.data.shapes import INSIDE, Stencil

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN: Final = 8  # pixels around a shape in which its feathered edge may end


@dataclass
class Canvas:
    """An image that is being forged.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        mask: bool (S, S), the pixels changed so far.
        origin: What kind of picture the image was before.
        hard_light: Share of the donors that were taken in a hard light.
        resized: Share of the donors that were resized after their own history.
    """

    image: Image
    mask: NDArray[np.bool_]
    origin: Origin = "photo"
    hard_light: float = 0.0
    resized: float = 0.0

    @property
    def side(self) -> int:
        """Return the side S in pixels."""
        return int(self.image.shape[0])


@dataclass(frozen=True)
class Window:
    """Where a stencil with its margin lies on the canvas; it may stick out, `canvas` and `stencil` say what is left."""

    top: int
    left: int
    height: int
    width: int
    side: int

    @property
    def canvas(self) -> tuple[slice, slice]:
        """Return rows and columns of the canvas."""
        rows = slice(max(0, self.top), min(self.side, self.top + self.height))
        return rows, slice(max(0, self.left), min(self.side, self.left + self.width))

    @property
    def stencil(self) -> tuple[slice, slice]:
        """Return rows and columns of the stencil, or of a patch of its size, that lie on the canvas."""
        rows, columns = self.canvas
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )


def padded(stencil: Stencil) -> Stencil:
    """Add room of MARGIN pixels on each side, where a feathered edge may end."""
    return np.asarray(
        cv2.copyMakeBorder(stencil, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=0), np.uint8
    )


def draw_window(rng: np.random.Generator, size: tuple[int, ...], side: int, *, inside: bool = False) -> Window:
    """Place a stencil of that size; unless `inside`, some of it may lie beyond the canvas, as a cut-off object."""
    corner = []
    share = 0.4 if chance(rng, 0.15) else 0.125
    for extent in size[:2]:
        beyond = 0 if inside else int(extent * share)
        lowest, highest = min(-beyond, side - extent), max(-beyond, side - extent + beyond)
        corner.append(int(rng.integers(lowest, highest + 1)))
    return Window(corner[0], corner[1], size[0], size[1], side)


def paste(canvas: Canvas, rng: np.random.Generator, *, patch: Image, stencil: Stencil, window: Window) -> Step:
    """Paste with a hard edge or a feathered one; return the record of the edge."""
    if chance(rng, 0.45):
        rows, columns = window.stencil
        inside = stencil[rows, columns] > 0
        canvas.image[window.canvas][inside] = patch[rows, columns][inside]
        canvas.mask[window.canvas] |= inside
        return {"feather": 0.0}
    feather = round(float(np.exp(rng.uniform(np.log(0.5), np.log(2.5)))), 3)
    weight = np.asarray(cv2.GaussianBlur(stencil, (0, 0), feather), np.uint8)
    blend(canvas, patch=patch, weight=weight, window=window)
    return {"feather": feather}


def near_marked(weight: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the weight without what lies more than MARGIN pixels from any pixel that it marks.

    A part too thin to reach half of the weight, or an object's wide shadow, would change pixels far from any marked.
    """
    reach = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    near = cv2.dilate((weight > INSIDE // 2).view(np.uint8), reach)
    return np.where(near, weight, 0).astype(np.uint8)


def blend(canvas: Canvas, *, patch: Image, weight: NDArray[np.uint8], window: Window) -> None:
    """Mix the patch into the canvas, `weight` / 255 of it, near the pixels of at least half the weight; mark these."""
    rows, columns = window.stencil
    alpha = near_marked(weight[rows, columns])  # what is marked beyond the canvas is no mark
    share = alpha.astype(np.float32) / INSIDE
    old = canvas.image[window.canvas]
    canvas.image[window.canvas] = cv2.blendLinear(
        np.ascontiguousarray(patch[rows, columns]), np.ascontiguousarray(old), share, 1 - share
    )
    canvas.mask[window.canvas] |= alpha > INSIDE // 2


def apart(corner: list[int], window: Window) -> bool:
    """Tell whether source and copy share at most a quarter of the copy's box."""
    rows = window.height - abs(corner[0] - window.top)
    columns = window.width - abs(corner[1] - window.left)
    shared = max(0, rows) * max(0, columns)
    return shared * 4 <= window.height * window.width
