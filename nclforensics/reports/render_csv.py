"""The evaluation report as CSV: one row an image, and one row a level of degradation."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nclforensics.reports.document import EvaluationReport, FlagRate, Interval, Measure, RobustnessPoint

    Cell = str | int | float | None

# A spreadsheet takes a cell that begins with one of these for a formula and runs it; file names come from strangers.
_FORMULA_STARTS: Final = ("=", "+", "-", "@")
_FIXED: Final = (
    "dataset",
    "image",
    "status",
    "authentic",
    "width",
    "height",
    "sha256",
    "mask_sha256",
    "evidence",
    "max_score",
    "tampered_share",
)
_FLAGS: Final = ("threshold", "authentic_flagged", "authentic_count", "false_positive_rate", "fpr_low", "fpr_high")


def render_csv(*reports: EvaluationReport) -> str:
    """Return one row an image of every report, measured ones first; skipped ones have their reason in "status"."""
    names: list[str] = []
    for row in (row for report in reports for row in report.images):
        names += [name for name in row.figures if name not in names]
    header: list[Cell] = [*_FIXED, *names]
    rows: list[Sequence[Cell]] = [header]
    for report in reports:
        dataset = safe_cell(report.protocol.dataset)
        for row in report.images:
            facts: list[Cell] = [int(row.authentic), row.width, row.height, row.sha256, row.mask_sha256]
            figures: list[Cell] = [row.figures.get(name) for name in names]
            start: list[Cell] = [dataset, safe_cell(row.image), "measured"]
            rows.append([*start, *facts, row.evidence, row.max_score, row.tampered_share, *figures])
        for item in report.skipped:
            blanks = [""] * (len(_FIXED) - 3 + len(names))
            rows.append([dataset, safe_cell(item.image), safe_cell(f"skipped: {item.reason}"), *blanks])
    return _text(rows)


def render_robustness_csv(report: EvaluationReport) -> str:
    """Return one row a level of every degradation, the undegraded images first; a header only without any."""
    points = report.robustness.points if report.robustness is not None else ()
    names = [item.name for item in points[0].measures] if points else []
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high", f"{name}_n")]
    header: list[Cell] = ["family", "level", *columns, *_FLAGS]
    return _text([header, *(_robustness_row(point) for point in points)])


def safe_cell(text: str) -> str:
    """Return a text as one harmless cell.

    Control characters are escaped, since a line break would begin a new row and a tab a formula's cell; an apostrophe
    goes before what a spreadsheet might take for a formula.
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


def _robustness_row(point: RobustnessPoint) -> list[Cell]:
    cells: list[Cell] = [point.family, point.level]
    for item in point.measures:
        cells += _measure_cells(item)
    return cells + _flag_cells(point.flags)


def _measure_cells(item: Measure) -> list[Cell]:
    return [item.value, *_bounds(item.interval), item.count]


def _flag_cells(flags: FlagRate | None) -> list[Cell]:
    if flags is None:
        return [None] * len(_FLAGS)
    counts = [flags.authentic_flagged, flags.authentic_count]
    return [flags.threshold, *counts, flags.false_positive_rate, *_bounds(flags.false_positive_interval)]


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval if interval is not None else (None, None)


def _text(rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)  # None becomes an empty cell
    return text.getvalue()
