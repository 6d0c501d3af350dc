"""Counts of right and wrong pixels at one threshold, and the figures made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nclforensics.errors import ShapeError
from nclforensics.metrics.regions import float32_at_most

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """Numbers of pixels; `+` pools two images.

    Attributes:
        true_positive: Tampered, predicted tampered.
        false_positive: Authentic, predicted tampered.
        false_negative: Tampered, predicted authentic.
        true_negative: Authentic, predicted authentic.
    """

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )

    @property
    def tampered(self) -> int:
        """Tampered pixels."""
        return self.true_positive + self.false_negative

    @property
    def total(self) -> int:
        """All pixels."""
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative

    @property
    def complement(self) -> Confusion:
        """The counts of the complement of the prediction."""
        return Confusion(self.false_negative, self.true_negative, self.true_positive, self.false_positive)

    @property
    def inverted(self) -> Confusion:
        """The counts with the classes exchanged: authentic pixels are those to be found."""
        return Confusion(self.true_negative, self.false_negative, self.false_positive, self.true_positive)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 if nothing is tampered and nothing predicted."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 0 if nothing is tampered and nothing predicted."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive + self.false_negative)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all; 0 if there is nothing."""
        return _ratio(self.true_positive + self.true_negative, self.total)

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient in [-1, 1]; 0 where a row or column of the table is empty."""
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        # Python integers: the product of four pixel counts does not fit 64 bits.
        return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def confusion_at(
    score_map: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    threshold: float,
    scored: NDArray[np.bool_] | None = None,
) -> Confusion:
    """Count pixels of the prediction `score_map > threshold` against a mask.

    Args:
        score_map: Scores, shape (H, W), in [0, 1].
        mask: Ground truth, bool (H, W), True = tampered.
        threshold: Scores strictly above it are predicted tampered.
        scored: Pixels that count, bool (H, W); None counts all.

    Raises:
        ShapeError: If the shapes differ.
    """
    check_shapes(score_map, mask)
    prediction = score_map > float32_at_most(threshold)
    if scored is None:
        return _counts(prediction, mask, total=mask.size)
    return _counts(prediction & scored, mask & scored, total=int(np.count_nonzero(scored)))


def check_shapes(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Raise ShapeError unless map and mask have one two-dimensional shape."""
    if score_map.shape != mask.shape or mask.ndim != 2:  # noqa: PLR2004 - height and width
        raise ShapeError(f"Expected score map and mask of one shape (H, W), got {score_map.shape} and {mask.shape}.")


def _counts(prediction: NDArray[np.bool_], mask: NDArray[np.bool_], *, total: int) -> Confusion:
    both = int(np.count_nonzero(prediction & mask))
    predicted, tampered = int(np.count_nonzero(prediction)), int(np.count_nonzero(mask))
    return Confusion(both, predicted - both, tampered - both, total - predicted - tampered + both)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
