"""Outlines of tampered regions: ellipses, rectangles, polygons, blobs, brush strokes, and parts of the donor itself.

A stencil is a uint8 array (h, w) of 0 and 255, cut to the shape's bounding box.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Stencil = NDArray[np.uint8]

INSIDE: Final = 255
HALF: Final = 127
TURNED_RECTANGLES: Final = 0.3  # share of rectangles that do not stand upright
LEAST_OBJECT: Final = 0.1  # share of the patch
LARGEST_OBJECT: Final = 0.75
COARSE: Final = 128  # side in pixels on which blobs and strokes are drawn before they are scaled
SHAPE_SHARES: Final = {"ellipse": 0.15, "rectangle": 0.15, "polygon": 0.2, "blob": 0.35, "stroke": 0.15}


def draw_stencil(rng: np.random.Generator, *, area: float, limit: int, shape: str = "") -> tuple[str, Stencil]:
    """Draw a shape of about `area` pixels.

    Args:
        rng: The sample's generator.
        area: Wanted number of pixels inside, > 0.
        limit: Longest side allowed for the bounding box; a longer shape is made smaller.
        shape: One of SHAPE_SHARES, or "" to draw one.

    Returns:
        The shape's name and its stencil, with at least one pixel inside.
    """
    if not shape:
        shape = str(rng.choice(list(SHAPE_SHARES), p=list(SHAPE_SHARES.values())))
    stencil = _scaled(DRAWINGS[shape](rng), area) if shape in DRAWINGS else _filled(OUTLINES[shape](rng), area)
    excess = max(stencil.shape) / limit
    if excess > 1:
        stencil = _resized(stencil, (max(1, int(stencil.shape[0] / excess)), max(1, int(stencil.shape[1] / excess))))
    return shape, tight(stencil)


def object_stencil(rng: np.random.Generator, patch: NDArray[np.uint8]) -> Stencil | None:
    """Cut an object out of a donor, by colour: what stands before an even background, or an evenly coloured part.

    Args:
        rng: The sample's generator.
        patch: Part of the donor, uint8 (h, w, 3).

    Returns:
        A stencil (h, w) of the patch's size, not cut to its bounding box; None if no part covers a fair share.
    """
    height, width = patch.shape[:2]
    shrink = min(1.0, COARSE / max(height, width))
    size = (max(8, round(width * shrink)), max(8, round(height * shrink)))
    small = np.asarray(cv2.medianBlur(cv2.resize(patch, size, interpolation=cv2.INTER_AREA), 5), np.uint8)
    tolerance = float(rng.uniform(8, 22))
    middle = (int(size[0] * rng.uniform(0.35, 0.65)), int(size[1] * rng.uniform(0.35, 0.65)))
    corners = [(0, 0), (size[0] - 1, 0), (0, size[1] - 1), (size[0] - 1, size[1] - 1)]
    for seeds in (corners, [middle]):
        region = _flooded(small, seeds, tolerance)
        region = _largest_part(INSIDE - region if seeds is corners else region)
        # less is a speck, more is the whole patch, and one that lies along the patch's rim is cut off, no object
        rim = cv2.countNonZero(region) - cv2.countNonZero(region[1:-1, 1:-1])
        if LEAST_OBJECT < cv2.countNonZero(region) / region.size < LARGEST_OBJECT and rim < sum(region.shape) / 2:
            return _resized(region, (height, width))
    return None


def _flooded(image: NDArray[np.uint8], seeds: list[tuple[int, int]], tolerance: float) -> Stencil:
    """Return what is joined to the seeds (column, row) through colours within the tolerance of the seed's."""
    filled = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    flags = 8 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (INSIDE << 8)
    for seed in seeds:
        cv2.floodFill(image, filled, seed, 0, (2 * tolerance,) * 3, (2 * tolerance,) * 3, flags)
    return np.ascontiguousarray(filled[1:-1, 1:-1])


def _largest_part(region: Stencil) -> Stencil:
    """Return the largest connected part, smoothed and with its holes filled."""
    region = np.asarray(cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
    region = np.asarray(cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    part = np.zeros_like(region)
    if outlines:
        cv2.drawContours(part, [max(outlines, key=cv2.contourArea)], 0, INSIDE, cv2.FILLED)
    return part


def tight(stencil: Stencil) -> Stencil:
    """Cut a stencil to its bounding box; one with nothing inside becomes a single pixel inside."""
    left, top, width, height = cv2.boundingRect(stencil)
    if not width:
        return np.full((1, 1), INSIDE, np.uint8)
    return np.ascontiguousarray(stencil[top : top + height, left : left + width])


def _filled(points: NDArray[np.float64], area: float) -> Stencil:
    """Fill an outline, given as points (n, 2) around the origin, scaled to the wanted area."""
    unit_area = max(0.02, float(cv2.contourArea(points.astype(np.float32))))
    points = points * np.sqrt(area / unit_area)
    points = np.rint(points - points.min(axis=0)).astype(np.int32)
    width, height = points.max(axis=0) + 1
    stencil = np.zeros((height, width), np.uint8)
    cv2.fillPoly(stencil, [points], INSIDE)
    return stencil


def _scaled(coarse: Stencil, area: float) -> Stencil:
    # a rim of nothing, since blurring a shape that touches the edge would flatten it there
    coarse = np.pad(tight(coarse), 4)
    scale = np.sqrt(area / max(1, cv2.countNonZero(coarse)))
    return _resized(coarse, (max(1, round(coarse.shape[0] * scale)), max(1, round(coarse.shape[1] * scale))))


def _resized(stencil: Stencil, size: tuple[int, int]) -> Stencil:
    # blurred first, since an enlarged stencil would show the steps of its pixels
    smooth = cv2.resize(cv2.GaussianBlur(stencil, (0, 0), 1.2), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.threshold(smooth, HALF, INSIDE, cv2.THRESH_BINARY)[1], np.uint8)


def _turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.asarray(points @ turn, np.float64)


def _aspect(rng: np.random.Generator) -> float:
    return float(np.exp(rng.normal(0, 0.35)))


def _ellipse(rng: np.random.Generator) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    points = np.stack([np.cos(angles) * _aspect(rng), np.sin(angles)], axis=1)
    return _turned(points, rng.uniform(0, np.pi))


def _rectangle(rng: np.random.Generator) -> NDArray[np.float64]:
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * [_aspect(rng), 1.0]
    return _turned(corners, rng.uniform(0, np.pi) if rng.random() < TURNED_RECTANGLES else 0.0)


def _polygon(rng: np.random.Generator) -> NDArray[np.float64]:
    count = int(rng.integers(4, 14))
    angles = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * np.pi / count
    radii = rng.uniform(0.45, 1.15, count)
    return np.stack([np.cos(angles) * radii * _aspect(rng), np.sin(angles) * radii], axis=1)


def _blob(rng: np.random.Generator) -> Stencil:
    side = int(rng.integers(4, 11))
    lattice = rng.standard_normal((side, side), dtype=np.float32)
    waves = cv2.resize(lattice, (COARSE, COARSE), interpolation=cv2.INTER_CUBIC)
    axis = np.linspace(-1, 1, COARSE, dtype=np.float32)
    aspect = _aspect(rng)
    # steep enough that the shape ends inside the square, where it would be cut straight
    bowl = 2.5 / min(aspect, 1 / aspect) * np.hypot(axis[:, None] * aspect, axis[None] / aspect)
    inside = (np.float32(rng.uniform(0.2, 0.8)) * waves + 1 > bowl).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count == 1:
        return np.full((COARSE, COARSE), INSIDE, np.uint8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return np.where(labels == largest, INSIDE, 0).astype(np.uint8)


def _stroke(rng: np.random.Generator) -> Stencil:
    count = int(rng.integers(2, 6))
    points = rng.uniform(0.15, 0.85, (count, 2)) * COARSE
    stencil = np.zeros((COARSE, COARSE), np.uint8)
    path = np.rint(points).astype(np.int32)
    cv2.polylines(stencil, [path], isClosed=False, color=INSIDE, thickness=int(rng.integers(9, 24)))
    return stencil


OUTLINES: Final = {"ellipse": _ellipse, "rectangle": _rectangle, "polygon": _polygon}
DRAWINGS: Final = {"blob": _blob, "stroke": _stroke}
