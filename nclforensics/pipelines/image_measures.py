"""The figures of whole images of a set, each with its interval and what chance would reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nclforensics.metrics.figures import FIXED_THRESHOLD
from nclforensics.metrics.image import balanced_accuracy, harmonic_f1, image_auc, image_confusion
from nclforensics.metrics.intervals import bootstrap_interval
from nclforensics.metrics.pixel import chance_f1
from nclforensics.reports.document import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.metrics.confusion import Confusion
    from nclforensics.reports.document import ImageRow

    Scores = Sequence[float] | NDArray[np.float64]

_FLAGGED = "where an image is flagged if its evidence score is above the model's default threshold"


@dataclass(frozen=True)
class _ImageFigure:
    """One figure: `statistic` of the scores of authentic and of tampered images."""

    name: str
    score: Callable[[ImageRow], float]
    statistic: Callable[[Scores, Scores], float | None]
    chance: float
    meaning: str


def image_measures(rows: Sequence[ImageRow], config: EvalConfig, *, threshold: float) -> list[Measure]:
    """Return the figures of whole images; all are undefined if the set lacks a class.

    Args:
        rows: Of all images measured, at least one.
        config: How to resample.
        threshold: The model's default one.
    """
    share = sum(not row.authentic for row in rows) / len(rows)
    return [_measure(figure, rows, config) for figure in _figures(share, threshold=threshold)]


def by_kind(rows: Sequence[ImageRow], score: Callable[[ImageRow], float]) -> tuple[list[float], list[float]]:
    """Return a score of the authentic images, and of the tampered ones."""
    return [score(row) for row in rows if row.authentic], [score(row) for row in rows if not row.authentic]


def _figures(share: float, *, threshold: float) -> list[_ImageFigure]:
    """Return what is computed; `share` is that of tampered images."""

    def evidence(row: ImageRow) -> float:
        return row.evidence

    def highest(row: ImageRow) -> float:
        return row.max_score

    at_model = {
        "image_accuracy": (_accuracy, max(share, 1 - share), f"share of images that are judged rightly, {_FLAGGED}"),
        "image_balanced_accuracy": (balanced_accuracy, 0.5, f"mean of sensitivity and specificity, {_FLAGGED}"),
        "image_f1": (_f1, chance_f1(share), f"F1 of the tampered class, {_FLAGGED}"),
    }
    pairs = "share of (tampered, authentic) image pairs in which the tampered one has the higher"
    return [
        _ImageFigure("image_auc", evidence, image_auc, 0.5, f"{pairs} evidence score"),
        *(
            _ImageFigure(f"{name}@model", evidence, _at(threshold, figure), chance, meaning)
            for name, (figure, chance, meaning) in at_model.items()
        ),
        _ImageFigure("image_auc_max", highest, image_auc, 0.5, f"{pairs} maximum of its score map, as in MVSS-Net"),
        _ImageFigure(
            "image_f1_mvss@0.5",
            highest,
            _at(FIXED_THRESHOLD, harmonic_f1),
            0.5,
            "harmonic mean of sensitivity and specificity, where an image is flagged if any pixel scores above 0.5",
        ),
    ]


def _at(threshold: float, figure: Callable[[Confusion], float | None]) -> Callable[[Scores, Scores], float | None]:
    def statistic(authentic: Scores, tampered: Scores) -> float | None:
        return figure(image_confusion(authentic, tampered, threshold=threshold))

    return statistic


def _accuracy(counts: Confusion) -> float:
    return counts.accuracy


def _f1(counts: Confusion) -> float:
    return counts.f1


def _measure(figure: _ImageFigure, rows: Sequence[ImageRow], config: EvalConfig) -> Measure:
    groups = by_kind(rows, figure.score)
    value = figure.statistic(*groups) if all(groups) else None
    return Measure(
        name=figure.name,
        value=value,
        interval=bootstrap_interval(groups, figure.statistic, resamples=config.bootstrap, seed=config.seed),
        count=len(rows) if value is not None else 0,
        meaning=figure.meaning,
        chance=figure.chance,
    )
