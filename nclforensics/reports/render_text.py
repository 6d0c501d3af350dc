"""The evaluation report as text for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nclforensics.reports.peers import peers
from nclforensics.reports.printable import printable
from nclforensics.reports.summary import MEAN, summarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.reports.document import EvaluationReport, FlagRate, Interval, Measure, Protocol, Robustness

_LISTED: Final = 10  # so many skipped images are named; the JSON and CSV name all


def render_text(report: EvaluationReport, *, width: int = 110) -> str:
    """Return protocol, counts, figures and warnings as plain text, at most `width` columns wide."""
    console = _console(width)
    counts = report.counts
    console.print(f"{report.tool} {report.tool_version}: evaluation of {printable(report.protocol.dataset)}")
    console.print(
        f"{counts.tampered} tampered and {counts.authentic} authentic images measured, {counts.skipped} skipped "
        f"of {counts.listed} listed; {counts.resized_masks} masks resized."
    )
    console.print(_protocol_table(report.protocol))
    console.print(_measure_table(report.measures))
    if report.published:
        console.print(_published_table(report))
    console.print(_flag_table(report.flag_rates))
    if report.robustness is not None:
        console.print(_robustness_table(report.robustness))
    console.print("What the measures are", _meanings(report.measures), sep="\n")
    for warning in report.warnings:
        console.print(f"Note: {printable(warning)}")
    for item in report.skipped[:_LISTED]:
        console.print(f"Skipped {printable(item.image)}: {printable(item.reason)}")
    if len(report.skipped) > _LISTED:
        console.print(f"... and {len(report.skipped) - _LISTED} more skipped images (see --json or --csv).")
    return _text_of(console)


def render_summary(reports: Sequence[EvaluationReport], *, width: int = 110) -> str:
    """Return one line a data set and the mean over the sets."""
    console = _console(width)
    rows = summarize(reports)
    title = f"All sets, protocol: {printable(reports[0].protocol.name)}"
    # Without lines and padding six figures have room in 80 columns.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("data set", overflow="fold", min_width=len(MEAN))
    for name in ("tampered +\nauthentic", *rows[0].figures):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        is_mean = row.dataset == MEAN
        counts = "" if is_mean else f"{row.tampered} + {row.authentic}"
        cells = [_number(value) for value in row.figures.values()]
        if is_mean:
            cells = [_with_sets(cell, row.sets[name], len(reports)) for name, cell in zip(row.sets, cells, strict=True)]
        table.add_row(Text(printable(row.dataset)), counts, *cells)
    console.print(table)
    if any(sets < len(reports) for sets in rows[-1].sets.values()):
        console.print("In brackets: over how many of the sets, where a figure is not defined on all.")
    return _text_of(console)


def _console(width: int) -> Console:
    # File names come from strangers: no markup, emoji or colour codes are read out of them.
    return Console(file=io.StringIO(), width=width, color_system=None, markup=False, emoji=False, highlight=False)


def _text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _with_sets(cell: str, sets: int, all_sets: int) -> str:
    return cell if sets == all_sets else f"{cell} ({sets})"


def _published_table(report: EvaluationReport) -> Table:
    table = Table(title="Published under the same protocol, quoted", title_justify="left", caption_justify="left")
    table.caption = report.protocol.training_match
    for name in ("model", "figure", "value", "mean of its sets", "source"):
        table.add_column(name, justify="left" if name in ("model", "figure", "source") else "right", overflow="fold")
    for row in peers(report):
        name = f"> {row.model}" if row.own else row.model
        table.add_row(Text(printable(name)), row.figure, _number(row.value), _number(row.average), Text(row.source))
    return table


def _robustness_table(robustness: Robustness) -> Table:
    table = Table(title=f"Robustness: {robustness.subset}", title_justify="left")
    table.add_column("degradation", no_wrap=True)
    table.add_column("level", overflow="fold")
    for item in robustness.points[0].measures:
        table.add_column(item.name, justify="right")
    table.add_column("false alarms", justify="right")
    for point in robustness.points:
        flags = point.flags
        alarms = f"{flags.authentic_flagged}/{flags.authentic_count}" if flags is not None else "-"
        figures = [_number(item.value) for item in point.measures]
        table.add_row(point.family, point.level or "as they are", *figures, alarms)
    return table


def _protocol_table(protocol: Protocol) -> Table:
    table = Table(title="Protocol", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in vars(protocol).items():
        table.add_row(name.replace("_", " "), Text(printable(value)))
    return table


def _measure_table(measures: tuple[Measure, ...]) -> Table:
    table = Table(title="Measures", title_justify="left")
    for name in ("measure", "value", "95 % interval", "n", "chance"):
        table.add_column(name, justify="left" if name == "measure" else "right", no_wrap=True)
    for item in measures:
        table.add_row(item.name, _number(item.value), _interval(item.interval), str(item.count), _number(item.chance))
    return table


def _meanings(measures: tuple[Measure, ...]) -> Table:
    """List what the measures are below the tables: a column of sentences leaves no room in 80 columns."""
    listed = Table(box=None, show_header=False)
    listed.add_column(no_wrap=True)
    listed.add_column()
    for item in measures:
        listed.add_row(item.name, item.meaning)
    return listed


def _flag_table(rates: tuple[FlagRate, ...]) -> Table:
    table = Table(title="Images flagged: number and share", title_justify="left")
    table.add_column("threshold", no_wrap=True)
    for name in ("authentic", "95 % interval", "tampered", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=name.startswith("95"))
    for item in rates:
        table.add_row(
            f"{item.name} ({item.threshold:.4f})" if item.name != f"{item.threshold:g}" else item.name,
            f"{item.authentic_flagged}/{item.authentic_count} {_number(item.false_positive_rate)}",
            _interval(item.false_positive_interval),
            f"{item.tampered_flagged}/{item.tampered_count} {_number(item.detection_rate)}",
            _interval(item.detection_interval),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f} - {interval[1]:.3f}"
