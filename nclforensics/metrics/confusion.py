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
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 if nothing is tampered and nothing predicted."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 0 if nothing is tampered and nothing predicted."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive + self.false_negative)

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient in [-1, 1]; 0 where a row or column of the table is empty."""
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        # Python integers: the product of four pixel counts does not fit 64 bits.
        return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def confusion_at(score_map: NDArray[np.float32], mask: NDArray[np.bool_], *, threshold: float) -> Confusion:
    """Count pixels of the prediction `score_map > threshold` against a mask.

    Args:
        score_map: Scores, shape (H, W), in [0, 1].
        mask: Ground truth, bool (H, W), True = tampered.
        threshold: Scores strictly above it are predicted tampered.

    Raises:
        ShapeError: If the shapes differ.
    """
    check_shapes(score_map, mask)
    return _counts(score_map > float32_at_most(threshold), mask)


def inverted_confusion_at(score_map: NDArray[np.float32], mask: NDArray[np.bool_], *, threshold: float) -> Confusion:
    """Count pixels of the prediction `1 - score_map > threshold`; otherwise as `confusion_at`."""
    check_shapes(score_map, mask)
    return _counts(score_map < -float32_at_most(threshold - 1), mask)


def check_shapes(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Raise ShapeError unless map and mask have one two-dimensional shape."""
    if score_map.shape != mask.shape or mask.ndim != 2:  # noqa: PLR2004 - height and width
        raise ShapeError(f"Expected score map and mask of one shape (H, W), got {score_map.shape} and {mask.shape}.")


def _counts(prediction: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Confusion:
    both = int(np.count_nonzero(prediction & mask))
    predicted, tampered = int(np.count_nonzero(prediction)), int(np.count_nonzero(mask))
    return Confusion(both, predicted - both, tampered - both, mask.size - predicted - tampered + both)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
