"""Threshold-free figures of one image's pixels, and what chance would reach.

Figures are exact for float32 scores, ties included: nothing is binned, so a map whose scores crowd near 0 or 1, as
those of a confident network do, loses nothing. One sort of 32-bit keys gives all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.metrics.confusion import check_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE: Final = np.uint32(0x3F800000)  # the bits of 1.0: those of smaller positive floats are smaller, in order


@dataclass(frozen=True)
class LevelCounts:
    """How the two classes are spread over an image's scores: one entry for each distinct score of a tampered pixel.

    Attributes:
        tampered: Tampered pixels that have this score, int64 (K,), highest score first.
        tied: Authentic pixels that have it, int64 (K,).
        above: Authentic pixels that have a higher one, int64 (K,).
        authentic: All authentic pixels.
    """

    tampered: NDArray[np.int64]
    tied: NDArray[np.int64]
    above: NDArray[np.int64]
    authentic: int

    @cached_property
    def found(self) -> NDArray[np.int64]:
        """Tampered pixels with this score or a higher one."""
        return np.cumsum(self.tampered)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Pixels of both classes with this score or a higher one."""
        return self.found + self.above + self.tied


def level_counts(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> LevelCounts:
    """Count the pixels of an image by score and class.

    Args:
        score_map: Scores, shape (H, W), in [0, 1].
        mask: Ground truth, bool (H, W).

    Raises:
        ShapeError: If the shapes differ.
    """
    check_shapes(score_map, mask)
    scores = np.clip(score_map, 0, 1).astype(np.float32, copy=False)
    # The shift drops the sign bit, so -0.0 is 0.
    keys = (_ONE - scores.ravel().view(np.uint32)) << np.uint32(1) | mask.ravel()
    keys.sort()  # highest score first, authentic pixels before tampered ones of the same score
    positions = np.flatnonzero((keys & np.uint32(1)) != 0)
    if not positions.size:
        nothing = np.empty(0, dtype=np.int64)
        return LevelCounts(nothing, nothing, nothing, keys.size)
    values = keys[positions] >> np.uint32(1)
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # of the tampered pixels with one score
    tampered = np.diff(last, prepend=-1)
    first = last - tampered + 1
    # Where the authentic pixels with the same score begin; most scores of a float map have none. At start 0 the index
    # wraps around, and a search then finds 0 again.
    start, values = positions[first], values[last]
    shared = np.flatnonzero(keys[start - 1] >> np.uint32(1) == values)
    start[shared] = np.searchsorted(keys, values[shared] << np.uint32(1))
    above = start - first
    return LevelCounts(tampered, positions[last] - last - above, above, keys.size - positions.size)


def auc(counts: LevelCounts) -> float | None:
    """Return the area under the ROC curve: P(tampered > authentic) + P(equal) / 2; None if a class is empty."""
    if not counts.found.size or not counts.authentic:
        return None
    # A sum of products, not `@`: for integers that is slower, and it would wake BLAS's threads.
    wins = (counts.tampered * (counts.authentic - counts.above - 0.5 * counts.tied)).sum()
    return float(wins / counts.found[-1] / counts.authentic)


def average_precision(counts: LevelCounts) -> float | None:
    """Return the sum over distinct scores of (recall step) times precision; None if nothing is tampered."""
    if not counts.found.size:
        return None
    return float((counts.tampered * (counts.found / counts.predicted)).sum() / counts.found[-1])


def best_f1(counts: LevelCounts) -> float | None:
    """Return the highest F1 over all thresholds (an oracle: it needs the ground truth); None if nothing is tampered.

    The prediction of everything is among the candidates, so no map scores less than an all-ones map.
    """
    if not counts.found.size:
        return None
    return float((counts.found / (counts.predicted + counts.found[-1])).max() * 2)


def chance_f1(tampered_share: float) -> float:
    """Return the F1 of an all-ones map: 2 f / (1 + f)."""
    return 2 * tampered_share / (1 + tampered_share)
