"""Removals: a region covered with what its surroundings suggest."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from nclforensics.data.canvas import MARGIN, Canvas, Window, apart, draw_window, padded, paste
from nclforensics.data.histories import Image, Step, apply_step, chance, draw_noise
from nclforensics.data.shapes import Stencil, draw_stencil

LARGEST_BOX: Final = 0.6  # longest side of the region as a share of the canvas
INPAINTED_PIXELS: Final = 2500  # a larger hole is inpainted at reduced size: the time grows with its area
BLENDED_PIXELS: Final = 6000  # a larger region is not Poisson-blended, for the same reason
PLACES: Final = 12  # compared before one is copied
METHOD_SHARES: Final = {"telea": 0.25, "navier-stokes": 0.2, "nearby": 0.45, "blur": 0.1}


def removal(canvas: Canvas, rng: np.random.Generator, *, area: float) -> Step:
    """Cover a region with what its surroundings suggest: inpainting, a patch from nearby, or a strong blur."""
    shape, stencil = draw_stencil(rng, area=area, limit=int(canvas.side * LARGEST_BOX))
    stencil = padded(stencil)
    window = draw_window(rng, stencil.shape, canvas.side, inside=True)
    method = str(rng.choice(list(METHOD_SHARES), p=list(METHOD_SHARES.values())))
    record: Step = {"op": "removal", "method": method, "shape": shape, "at": [window.top, window.left]}
    if method in ("telea", "navier-stokes"):
        patch = _inpainted(canvas.image[window.canvas], stencil, method)
    elif method == "blur":
        sigma = round(float(rng.uniform(4, 12)), 2)
        patch = np.asarray(cv2.GaussianBlur(canvas.image[window.canvas], (0, 0), sigma), np.uint8)
    else:
        return {**record, **_cover(canvas, rng, stencil, window)}
    steps = [draw_noise(rng)] if chance(rng, 0.4) else []  # many tools grain what they filled
    for step in steps:
        patch = apply_step(patch, step)
    return {**record, "steps": steps, **paste(canvas, rng, patch=patch, stencil=stencil, window=window)}


def _inpainted(patch: Image, stencil: Stencil, method: str) -> Image:
    """Inpaint the stencil's inside; a large one at reduced size, since the time grows with its area."""
    flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    shrink = min(1.0, np.sqrt(INPAINTED_PIXELS / max(1, cv2.countNonZero(stencil))))
    if shrink == 1:
        return np.asarray(cv2.inpaint(patch, stencil, 2, flag), np.uint8)
    size = tuple(max(4, round(n * shrink)) for n in patch.shape[1::-1])
    small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
    hole = cv2.dilate(cv2.resize(stencil, size, interpolation=cv2.INTER_NEAREST), np.ones((3, 3), np.uint8))
    filled = cv2.inpaint(small, hole, 2, flag)
    return np.asarray(cv2.resize(filled, patch.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _cover(canvas: Canvas, rng: np.random.Generator, stencil: Stencil, window: Window) -> Step:
    """Cover the region with the place, of several nearby, whose rim fits best; often blended by Poisson's equation.

    Where all of them overlap the region, nothing is changed or marked, and the source is None: the forge tries again.
    """
    height, width = stencil.shape
    grown = cv2.dilate(stencil, np.ones((7, 7), np.uint8))
    rim = cv2.subtract(grown, stencil)
    old = canvas.image[window.canvas]
    best, corner, lowest = old, None, np.inf
    for _ in range(PLACES):
        top, left = (int(v) for v in rng.integers(0, [canvas.side - height + 1, canvas.side - width + 1]))
        if not apart([top, left], window):
            continue
        new = canvas.image[top : top + height, left : left + width]
        misfit = cv2.norm(new, old, cv2.NORM_L2, rim)
        if misfit < lowest:
            best, corner, lowest = new, [top, left], misfit
    if corner is None:
        return {"source": None}
    patch = best.copy()
    blended = chance(rng, 0.6) and cv2.countNonZero(stencil) < BLENDED_PIXELS
    if blended and min(height, width) > 2 * MARGIN + 2:
        patch = _poisson_blended(patch, old, stencil)
    return {"source": corner, "blended": blended, **paste(canvas, rng, patch=patch, stencil=stencil, window=window)}


def _poisson_blended(patch: Image, old: Image, stencil: Stencil) -> Image:
    # seamlessClone centres the stencil's bounding box on the point given
    left, top, width, height = cv2.boundingRect(stencil)
    middle = (left + width // 2, top + height // 2)
    return np.asarray(cv2.seamlessClone(patch, old.copy(), stencil.copy(), middle, cv2.NORMAL_CLONE), np.uint8)
