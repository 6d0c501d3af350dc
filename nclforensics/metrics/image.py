"""Figures of whole images, from one evidence score each: is it flagged, and how often is that wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def flagged_count(evidence: Sequence[float] | NDArray[np.float64], *, threshold: float) -> int:
    """Return how many images have an evidence score strictly above the threshold."""
    return int(np.count_nonzero(np.asarray(evidence, dtype=np.float64) > threshold))


def threshold_at_rate(evidence: Sequence[float], *, rate: float) -> float:
    """Return the smallest threshold t >= 0 at which the share of flagged authentic images is at most `rate`.

    With n images, k = floor(rate n) of them may be flagged, so t is the (k + 1)-th highest evidence score. With fewer
    than 1 / rate images k is 0 and t is the highest score.

    Args:
        evidence: Evidence scores of authentic images, at least one.
        rate: Allowed share in [0, 1].
    """
    ordered = sorted(evidence, reverse=True)
    allowed = math.floor(rate * len(ordered) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    return ordered[allowed] if allowed < len(ordered) else 0.0


def image_auc(
    authentic: Sequence[float] | NDArray[np.float64], tampered: Sequence[float] | NDArray[np.float64]
) -> float | None:
    """Return the share of (tampered, authentic) pairs in which the tampered image has the higher evidence score.

    Ties count half. None if there is no image of a class.
    """
    lower = np.sort(np.asarray(authentic, dtype=np.float64))
    higher = np.asarray(tampered, dtype=np.float64)
    if not lower.size or not higher.size:
        return None
    wins = np.searchsorted(lower, higher, side="left") + np.searchsorted(lower, higher, side="right")
    return float(wins.mean() / (2 * lower.size))
