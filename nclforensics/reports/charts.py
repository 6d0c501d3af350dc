"""Where the lines of a robustness chart go: numbers that a template draws as SVG, so that the page can style them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.reports.document import EvaluationReport, Robustness, RobustnessPoint

WIDTH, HEIGHT = 300, 176
LEFT, RIGHT, TOP, BOTTOM = 28, 20, 10, 26
ALARMS: Final = "false-positive rate"


@dataclass(frozen=True)
class Mark:
    """One value on a chart: its place in SVG units, and what a pointer over it shows."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One figure over the levels of a degradation.

    Attributes:
        name: The figure.
        style: Number of its colour and dash in the style sheet.
        marks: Its values, undefined ones left out.
    """

    name: str
    style: int
    marks: tuple[Mark, ...]

    @property
    def path(self) -> str:
        """The line through the marks, as the points of an SVG polyline."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True)
class Tick:
    """One label of the horizontal axis."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One degradation: the undegraded images stand at the left, its levels follow.

    Attributes:
        title: Name of the degradation.
        definition: What it does.
        lines: One a figure.
        ticks: One a level.
        points: The same as a table, the undegraded images first.
    """

    title: str
    definition: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    points: tuple[RobustnessPoint, ...]


def robustness_charts(report: EvaluationReport) -> tuple[Chart, ...]:
    """Return one chart a degradation; none where robustness was not measured."""
    robustness = report.robustness
    if robustness is None:
        return ()
    return tuple(
        _chart(text.title, text.definition, family_points(robustness, text.family)) for text in robustness.degradations
    )


def family_points(robustness: Robustness, family: str) -> tuple[RobustnessPoint, ...]:
    """Return the points of one degradation after that of the undegraded images."""
    return tuple(point for point in robustness.points if point.family in ("none", family))


def series(points: Sequence[RobustnessPoint]) -> dict[str, list[float | None]]:
    """Return every figure's values over the points; a figure that is undefined at all of them is left out."""
    names = [item.name for item in points[0].measures]
    found = {name: [point.measures[place].value for point in points] for place, name in enumerate(names)}
    found[ALARMS] = [point.flags.false_positive_rate if point.flags is not None else None for point in points]
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def level_name(point: RobustnessPoint) -> str:
    """Return the level in words."""
    return point.level or "as it is"


def height_of(value: float) -> float:
    """Return the vertical place of a value in [0, 1]."""
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _chart(title: str, definition: str, points: tuple[RobustnessPoint, ...]) -> Chart:
    step = (WIDTH - LEFT - RIGHT) / max(1, len(points) - 1)
    places = [LEFT + number * step for number in range(len(points))]
    lines = tuple(
        Line(name, _style(name), tuple(_marks(name, values, places, points))) for name, values in series(points).items()
    )
    ticks = tuple(Tick(x, _short(point)) for x, point in zip(places, points, strict=True))
    return Chart(title, definition, lines, ticks, points)


def _marks(
    name: str, values: list[float | None], places: list[float], points: tuple[RobustnessPoint, ...]
) -> list[Mark]:
    return [
        Mark(x, height_of(value), f"{name} {value:.3f}, {level_name(point)}")
        for x, value, point in zip(places, values, points, strict=True)
        if value is not None
    ]


def _style(name: str) -> int:
    """Return the same number for the same figure in every chart."""
    known = {"f1@0.5": 1, "pixel_auc": 2, ALARMS: 3}
    return 0 if name.startswith("f1@fpr") else known.get(name, 4)


def _short(point: RobustnessPoint) -> str:
    """Return a label short enough for an axis: the level's number, the side of a post, or how many posts there were."""
    if not point.level:
        return "as is"
    posts = point.level.split(", then ")
    if len(posts) > 1:
        return f"{len(posts)} posts"
    words = posts[0].split()
    return words[0] if "px" in words else words[-1]
