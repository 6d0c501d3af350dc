"""The report of `nclf data check` as data, and its two renderings: JSON, and a table for a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION: Final = 1
_SPELLED_OUT: Final = 10  # so many anomalies of a kind are listed in the table; the JSON lists all
_STYLES: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class SetCounts:
    """How many images were found, and how many there should be.

    Attributes:
        tampered: Tampered images that can be used.
        authentic: Authentic images that can be used.
        expected_tampered: As published; None for a set of the user's own.
        expected_authentic: Likewise.
        left_out: Listed images that cannot be used.
        resized: Masks that are scaled to their image.
        unchecked: Pairs that were not looked at, because of --limit.
        kinds: Usable tampered images by kind, where the set says it.
    """

    tampered: int
    authentic: int
    expected_tampered: int | None
    expected_authentic: int | None
    left_out: int
    resized: int
    unchecked: int
    kinds: dict[str, int]


@dataclass(frozen=True)
class ShareRow:
    """Tampered share of the usable tampered images: smallest, median, largest."""

    smallest: float
    median: float
    largest: float


@dataclass(frozen=True)
class AlignmentRow:
    """Whether the masks follow what the images show; the attributes of `nclforensics.data.alignment.Alignment`."""

    verdict: str
    images: int
    shift_right: float
    shift_down: float
    height: float
    rest: float
    near_zero: float
    centred: float


@dataclass(frozen=True)
class AnomalyRow:
    """One oddity: its kind, "error", "warning" or "note", what was found, and the file that it is about."""

    kind: str
    severity: str
    message: str
    path: str | None


@dataclass(frozen=True)
class DatasetReport:
    """What `nclf data check` found.

    Attributes:
        schema_version: Version of this document.
        tool: "nclforensics".
        tool_version: Its version.
        name: The data set as the command was given it, or the benchmark's name.
        title: The benchmark's title; None for a set of the user's own.
        root: Where it was found.
        mask_rules: How masks are read, one line a rule.
        counts: How many images.
        tampered_share: None if no tampered image can be used.
        alignment: Whether masks follow their images.
        anomalies: Everything odd, errors first.
        caveats: What to know before quoting figures made from the set.
        usable: Whether training and evaluation accept it: no anomaly is an error.
    """

    schema_version: int
    tool: str
    tool_version: str
    name: str
    title: str | None
    root: str
    mask_rules: tuple[str, ...]
    counts: SetCounts
    tampered_share: ShareRow | None
    alignment: AlignmentRow
    anomalies: tuple[AnomalyRow, ...]
    caveats: tuple[str, ...]
    usable: bool


def render_dataset_json(report: DatasetReport) -> str:
    """Return the report as indented ASCII JSON with a final newline."""
    return json.dumps(dataclasses.asdict(report), indent=2, allow_nan=False) + "\n"


def render_dataset_text(report: DatasetReport, *, width: int = 110) -> str:
    """Return the report as plain text, at most `width` columns wide."""
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(_facts_table(report))
    if report.anomalies:
        console.print(_anomaly_table(report.anomalies, root=report.root))
    for caveat in report.caveats:
        console.print(f"Note: {printable(caveat)}")
    console.print(_verdict(report))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def without_root(text: str, root: str) -> str:
    """Shorten the paths in a message to what lies below the set's folder, or below the folder of its list."""
    for folder in (root, str(PurePath(root).parent)):
        # Only where a path begins: the folder "set" is no part of "../testset/a.png".
        text = re.sub(rf"(?<![^\s(:\"']){re.escape(folder.rstrip('/'))}/", "", text)
    return text


def _facts_table(report: DatasetReport) -> Table:
    counts = report.counts
    table = Table(title=printable(report.title or report.name), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("found in", printable(report.root)),
        ("tampered", _counted(counts.tampered, counts.expected_tampered, counts.kinds)),
        ("authentic", _counted(counts.authentic, counts.expected_authentic, {})),
        ("left out", f"{counts.left_out} listed images; {counts.resized} masks are scaled to their image"),
        *[("mask rule", rule) for rule in report.mask_rules],
    ]
    if counts.unchecked:
        rows.append(("not checked", f"{counts.unchecked} pairs, because of --limit"))
    if report.tampered_share:
        share = report.tampered_share
        rows.append(("tampered share", f"{share.median:.1%} median, {share.smallest:.2%} to {share.largest:.1%}"))
    rows.append(("masks on edges", _alignment(report.alignment)))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _counted(found: int, expected: int | None, kinds: dict[str, int]) -> str:
    published = "" if expected is None else f" of {expected:,} published"
    named = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    return f"{found:,}{published}" + (f" ({named})" if named else "")


def _alignment(row: AlignmentRow) -> str:
    if not row.images:
        return "not measured: no mask with a contour"
    shift = f"best fit at ({row.shift_right:+.0f}, {row.shift_down:+.0f}) pixels"
    return f"{row.verdict} ({row.images} images, {shift}, {row.height:.1f} standard deviations)"


def _anomaly_table(anomalies: Iterable[AnomalyRow], *, root: str) -> Table:
    table = Table(title="Anomalies", title_justify="left")
    table.add_column("severity", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what was found", overflow="fold")
    groups: dict[tuple[str, str], list[AnomalyRow]] = defaultdict(list)
    for row in anomalies:
        groups[row.severity, row.kind].append(row)
    for (severity, kind), rows in groups.items():
        for row in rows[:_SPELLED_OUT]:
            text = f"{row.path}: {row.message}" if row.path else row.message
            table.add_row(Text(severity, _STYLES[severity]), kind, printable(without_root(text, root)))
        if len(rows) > _SPELLED_OUT:
            table.add_row(severity, kind, f"... and {len(rows) - _SPELLED_OUT:,} more (see --json)")
    return table


def _verdict(report: DatasetReport) -> str:
    errors = sum(row.severity == "error" for row in report.anomalies)
    warnings = sum(row.severity == "warning" for row in report.anomalies)
    outcome = "Usable" if report.usable else "Not usable as it is"
    return f"{outcome}: {_plural(errors, 'error')}, {_plural(warnings, 'warning')}."


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
