"""Maps to a fraction of a pixel: Gauss-Newton on the difference of brightness over a region.

Source: Lucas and Kanade, "An iterative image registration technique with an application to stereo vision", 1981.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.matching.planes import cut, seen_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine
    from nclforensics.matching.planes import Box, Plane

STEPS: Final = 5
FARTHEST: Final = 3.0  # pixels that a refined map may move any corner of the box


def refined(plane: Plane, affine: Affine, box: Box, region: NDArray[np.uint8]) -> Affine:
    """Refine a map so that the plane agrees with itself over a region.

    Args:
        plane: float32 (H, W).
        affine: The map to start with, off by about a pixel at most.
        box: Where the region lies.
        region: uint8 of the box's shape, not 0 where pixels count.

    Returns:
        The refined map; the one to start with if the region does not define one or leads far away.
    """
    x, y = (np.asarray(v, np.float64) for v in np.meshgrid(np.arange(box[0], box[2]), np.arange(box[1], box[3])))
    middle = np.array([x.mean(), y.mean()])
    spread = max(x.std(), y.std(), 1.0)
    basis = [(x - middle[0]) / spread, (y - middle[1]) / spread, np.ones_like(x)]
    right, down = cv2.Scharr(plane, cv2.CV_32F, 1, 0, scale=1 / 32), cv2.Scharr(plane, cv2.CV_32F, 0, 1, scale=1 / 32)
    here = cut(plane, box).astype(np.float64)
    current = affine.copy()
    for _ in range(STEPS):
        there = seen_through(plane, current, box).astype(np.float64)
        slopes = [
            seen_through(slope, current, box) for slope in (np.asarray(right, np.float32), np.asarray(down, np.float32))
        ]
        inside = (region > 0) & ~np.isnan(there) & ~np.isnan(slopes[0]) & ~np.isnan(slopes[1])
        columns = [(slope * part)[inside] for slope in slopes for part in basis]
        ours, theirs = here[inside], there[inside]
        ours = ours - ours.mean() if ours.size else ours
        theirs = theirs - theirs.mean() if theirs.size else theirs
        gain = (ours * theirs).sum() / max(float((ours * ours).sum()), 1e-9)
        step = _solved(columns, gain * ours - theirs)
        if step is None:
            return affine
        step = step.reshape(2, 3)
        step[:, :2] /= spread
        step[:, 2] -= step[:, :2] @ middle
        current = current + step
    corners = np.array([[box[i], box[j], 1] for i in (0, 2) for j in (1, 3)])
    return current if np.abs(corners @ (current - affine).T).max() <= FARTHEST else affine


def _solved(columns: list[NDArray[np.float64]], wanted: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Solve the normal equations; sums are NumPy's own, which no number of threads reorders."""
    if wanted.size < len(columns):
        return None
    normal = np.array([[(one * other).sum() for other in columns] for one in columns])
    right = np.array([(one * wanted).sum() for one in columns])
    try:
        return np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(len(normal)), right)
    except np.linalg.LinAlgError:
        return None
