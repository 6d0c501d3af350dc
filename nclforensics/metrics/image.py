"""Figures of whole images, from one score each: is it flagged, and how often is that wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nclforensics.metrics.confusion import Confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def flagged_count(evidence: Sequence[float] | NDArray[np.float64], *, threshold: float) -> int:
    """Return how many images have an evidence score strictly above the threshold."""
    return int(np.count_nonzero(np.asarray(evidence, dtype=np.float64) > threshold))


def image_confusion(
    authentic: Sequence[float] | NDArray[np.float64],
    tampered: Sequence[float] | NDArray[np.float64],
    *,
    threshold: float,
) -> Confusion:
    """Count images instead of pixels: those whose score is strictly above the threshold are flagged."""
    alarms, found = (flagged_count(scores, threshold=threshold) for scores in (authentic, tampered))
    return Confusion(found, alarms, len(tampered) - found, len(authentic) - alarms)


def balanced_accuracy(counts: Confusion) -> float | None:
    """Return the mean of sensitivity and specificity; None if there is no image of a class."""
    rates = sensitivity_and_specificity(counts)
    return None if rates is None else sum(rates) / 2


def harmonic_f1(counts: Confusion) -> float | None:
    """Return the harmonic mean of sensitivity and specificity, the image-level "F1" of MVSS-Net (ICCV 2021).

    Not an F1 in the usual sense: it does not depend on how many images of each class there are. 0 if either is 0, None
    if there is no image of a class.
    """
    rates = sensitivity_and_specificity(counts)
    if rates is None:
        return None
    return 2 * rates[0] * rates[1] / sum(rates) if any(rates) else 0.0


def sensitivity_and_specificity(counts: Confusion) -> tuple[float, float] | None:
    """Return the shares of tampered images that are flagged and of authentic ones that are not; None as above."""
    tampered, authentic = counts.tampered, counts.total - counts.tampered
    if not tampered or not authentic:
        return None
    return counts.true_positive / tampered, counts.true_negative / authentic


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
