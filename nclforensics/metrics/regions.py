"""Connected regions of a score map: the one rule that turns scores into findings.

A region counts when it is 8-connected and covers more than `min_region` of the image. `evidence_score` is the highest
threshold at which such a region exists, so an image is flagged at a threshold exactly when its evidence score is above
it; scan, calibration and evaluation all use these two functions.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nclforensics.errors import ShapeError
from nclforensics.results import Region

Scores = NDArray[np.float32]


def evidence_score(score_map: Scores, *, min_region: float) -> float:
    """Return the supremum of the thresholds t at which `score_map > t` still has a large enough region.

    The result is exact: it is one of the map's own values, found by bisection over all floats.

    Args:
        score_map: Scores, shape (H, W), float32 in [0, 1].
        min_region: Share of the image's area that the region must exceed, in [0, 1).

    Returns:
        A value in [0, 1]; 0.0 if no threshold of at least 0 leaves such a region.

    Raises:
        ShapeError: If the map is not two-dimensional, or empty.
    """
    scores = _checked_map(score_map)
    limit = min_region * scores.size
    window = _window_of_regions(scores, np.float32(0), limit)
    if window is None:
        return 0.0
    # Bit patterns of floats that are not negative have the floats' order: no copy of the map needs to be sorted.
    # Above `low` there is a large enough region, above `high` there is none.
    low, high = 0, int(window.max().view(np.int32))
    while high - low > 1:
        middle = (low + high) // 2
        smaller = _window_of_regions(window, np.int32(middle).view(np.float32), limit)
        if smaller is None:
            high = middle
        else:
            low, window = middle, smaller
    return float(np.int32(high).view(np.float32))


def regions_above(score_map: Scores, *, threshold: float, min_region: float) -> tuple[NDArray[np.bool_], list[Region]]:
    """Return the prediction that holds only the large enough regions above a threshold, and those regions.

    The prediction is non-empty exactly when `evidence_score(score_map, min_region=min_region) > threshold`.

    Args:
        score_map: Scores, shape (H, W), float32 in [0, 1].
        threshold: Scores strictly above it count, in [0, 1].
        min_region: Share of the image's area that a region must exceed, in [0, 1).

    Returns:
        The prediction, bool (H, W), and its regions, largest first (ties: topmost, then leftmost).

    Raises:
        ShapeError: If the map is not two-dimensional, or empty.
    """
    scores = _checked_map(score_map)
    labels, stats = _components((scores > float32_at_most(threshold)).view(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] > min_region * scores.size
    keep[0] = False  # label 0 is what lies below the threshold
    boxes = [_box(scores, labels, stats[label], label=int(label)) for label in np.flatnonzero(keep)]
    boxes.sort(key=lambda box: (-box.area, box.y, box.x))
    return keep[labels], boxes


def _checked_map(score_map: Scores) -> Scores:
    if score_map.ndim != 2 or score_map.size == 0:  # noqa: PLR2004 - height and width
        raise ShapeError(f"Expected a score map (H, W) with at least one pixel, got shape {score_map.shape}.")
    return np.ascontiguousarray(score_map, dtype=np.float32)


def float32_at_most(threshold: float) -> np.float32:
    """Round a threshold down to float32: `float32 > result` then says what comparing in float64 would."""
    rounded = np.float32(threshold)
    return rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf))


def _components(above: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8, ltype=cv2.CV_32S)
    return labels.astype(np.int32, copy=False), stats.astype(np.int32, copy=False)


def _window_of_regions(scores: Scores, threshold: np.float32, limit: float) -> Scores | None:
    """Return the part of the map that holds all large enough regions: higher thresholds need not look elsewhere."""
    above = (scores > threshold).view(np.uint8)
    if cv2.countNonZero(above) <= limit:
        return None
    _, stats = _components(above)
    rows = stats[1:][stats[1:, cv2.CC_STAT_AREA] > limit]
    if not rows.size:
        return None
    left, top = rows[:, :2].min(axis=0)
    right, bottom = (rows[:, :2] + rows[:, 2:4]).max(axis=0)
    return scores[top:bottom, left:right]


def _box(scores: Scores, labels: NDArray[np.int32], row: NDArray[np.int32], *, label: int) -> Region:
    x, y, width, height, area = (int(value) for value in row)
    inside = labels[y : y + height, x : x + width] == label
    values = scores[y : y + height, x : x + width][inside]
    mean = float(values.mean(dtype=np.float64))
    return Region(x=x, y=y, width=width, height=height, area=area, mean_score=mean, max_score=float(values.max()))
