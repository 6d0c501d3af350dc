"""Several data sets at a glance: one row a set, and the plain mean over the sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.reports.document import EvaluationReport

_FIGURES: Final = ("f1@0.5", "f1_best", "iou@0.5", "pixel_auc", "image_auc")
MEAN: Final = "mean of the sets"


@dataclass(frozen=True)
class SummaryRow:
    """One data set, or the mean of all.

    Attributes:
        dataset: Its name.
        tampered: Tampered images behind the figures; 0 in the row of the mean, which weighs sets equally.
        authentic: Authentic images, likewise.
        figures: Values by name; None where undefined. A mean is over the sets in which the figure is defined.
        sets: How many sets are behind each figure.
    """

    dataset: str
    tampered: int
    authentic: int
    figures: dict[str, float | None]
    sets: dict[str, int]


def summarize(reports: Sequence[EvaluationReport]) -> tuple[SummaryRow, ...]:
    """Return one row a report, the first report's headline first, and the row of the means."""
    headline = reports[0].measures[0].name
    defined = {item.name for report in reports for item in report.measures if item.value is not None}
    names = [headline, *(name for name in _FIGURES if name in defined - {headline})]
    rows = [_row(report, names) for report in reports]
    means: dict[str, float | None] = {}
    sets = {}
    for name in names:
        known = [value for row in rows if (value := row.figures[name]) is not None]
        means[name] = sum(known) / len(known) if known else None
        sets[name] = len(known)
    return (*rows, SummaryRow(MEAN, 0, 0, means, sets))


def _row(report: EvaluationReport, names: Sequence[str]) -> SummaryRow:
    values = {item.name: item.value for item in report.measures}
    figures = {name: values.get(name) for name in names}
    sets = {name: int(value is not None) for name, value in figures.items()}
    return SummaryRow(report.protocol.dataset, report.counts.tampered, report.counts.authentic, figures, sets)
