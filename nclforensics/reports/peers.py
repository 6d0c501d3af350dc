"""The model of a report among the published figures of the same protocol, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport, Interval


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    Attributes:
        model: Name of the model.
        figure: Name of the figure.
        value: Its value on the data set of the report.
        average: Its mean over the data sets of the table that it comes from, where that states one.
        source: Where it was published; for the report's own model, that it was measured here.
        caveats: What to know before comparing.
        own: Whether it is the model of the report.
        interval: 95 % interval; published figures come without.
        chance: None: it stands beside the report's own figures.
    """

    model: str
    figure: str
    value: float
    average: float | None
    source: str
    caveats: str
    own: bool = False
    interval: Interval | None = None
    chance: float | None = None


def peers(report: EvaluationReport) -> list[Peer]:
    """Return the published rows of a report and the report's own figures of the same names, best first."""
    rows = [Peer(row.model, row.figure, row.value, row.average, row.source, row.caveats) for row in report.published]
    figures = {row.figure for row in rows}
    for item in report.measures:
        if item.name in figures and item.value is not None:
            own = f"measured here on {item.count} images"
            rows.append(
                Peer(
                    report.protocol.model,
                    item.name,
                    item.value,
                    None,
                    own,
                    "",
                    own=True,
                    interval=item.interval,
                )
            )
    return sorted(rows, key=lambda row: -row.value)
