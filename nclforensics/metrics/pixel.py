"""Threshold-free figures of one image's pixels, and what chance would reach.

Scores are rounded to 16 bits, where sorting becomes counting: AUC, average precision and the best F1 are then exact
sums over 65536 levels, however large the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.metrics.confusion import check_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: Final = 65536


@dataclass(frozen=True)
class LevelCounts:
    """How many pixels have each score level.

    Attributes:
        tampered: Tampered pixels a level, int64 (65536,), lowest score first.
        authentic: Authentic pixels a level, int64 (65536,).
    """

    tampered: NDArray[np.int64]
    authentic: NDArray[np.int64]


def level_counts(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> LevelCounts:
    """Count the pixels of an image by score level and class.

    Args:
        score_map: Scores, shape (H, W), in [0, 1]; the level is round(65535 score).
        mask: Ground truth, bool (H, W).

    Raises:
        ShapeError: If the shapes differ.
    """
    check_shapes(score_map, mask)
    levels = np.rint(np.clip(score_map, 0, 1) * np.float32(LEVELS - 1)).astype(np.int64)
    tampered = np.bincount(levels[mask], minlength=LEVELS)
    return LevelCounts(tampered, np.bincount(levels.ravel(), minlength=LEVELS) - tampered)


def auc(counts: LevelCounts) -> float | None:
    """Return the area under the ROC curve: P(tampered > authentic) + P(equal) / 2; None if a class is empty."""
    tampered, authentic = int(counts.tampered.sum()), int(counts.authentic.sum())
    if not tampered or not authentic:
        return None
    below = np.cumsum(counts.authentic) - counts.authentic
    wins = counts.tampered.astype(np.float64) @ (below + 0.5 * counts.authentic)
    return float(wins / tampered / authentic)


def average_precision(counts: LevelCounts) -> float | None:
    """Return the sum over levels of (recall step) times precision; None if nothing is tampered."""
    found, predicted = _from_the_top(counts)
    if not found[-1]:
        return None
    steps = np.diff(found, prepend=0)
    return float((steps * (found / np.maximum(predicted, 1))).sum() / found[-1])


def best_f1(counts: LevelCounts) -> float:
    """Return the highest F1 over all thresholds (an oracle: it needs the ground truth to choose); 0 without tampering.

    The prediction of everything is one of the candidates, so no map scores less than an all-ones map.
    """
    found, predicted = _from_the_top(counts)
    return float((2 * found / np.maximum(predicted + found[-1], 1)).max())


def chance_f1(tampered_share: float) -> float:
    """Return the F1 of an all-ones map: 2 f / (1 + f)."""
    return 2 * tampered_share / (1 + tampered_share)


def chance_iou(tampered_share: float) -> float:
    """Return the expected IoU of a random map that marks the same share f of the pixels: f / (2 - f)."""
    return tampered_share / (2 - tampered_share)


def _from_the_top(counts: LevelCounts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each level from the highest down, how many tampered and how many pixels at all lie at or above it."""
    found = np.cumsum(counts.tampered[::-1])
    return found, np.cumsum((counts.tampered + counts.authentic)[::-1])
