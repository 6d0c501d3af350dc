"""`nclf report`: a scan's records as a report for people or programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from nclforensics.cli.console import print_note, print_result, progress_bar
from nclforensics.cli.options import QuietOption  # noqa: TC001 - read at run time
from nclforensics.errors import UsageError
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from nclforensics.pipelines.report import ScanFolder

EXAMPLES: Final = (
    "Examples:\n\nnclf report masks/\n\nnclf report masks/ --format pdf --out case-2026-117.pdf\n\n"
    "nclf report masks/ --format csv --out - | column -s, -t | less"
)
STDOUT: Final = Path("-")


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"
    PDF = "pdf"


ReportsOption: TypeAlias = Annotated[
    list[ReportFormat] | None,
    typer.Option("--report", help="Also write a report into DIR; more than one may be asked for.", show_default=False),
]


def report(
    run: Annotated[Path, typer.Argument(help="Output folder of a scan.", metavar="DIR")],
    *,
    kind: Annotated[
        ReportFormat | None, typer.Option("--format", "-f", help="Default: as the name of --out ends, else html.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help='Default: report.FORMAT in DIR; "-" prints csv or json to stdout.', metavar="FILE"
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Write a report on a scan from its records: a page for a browser, a PDF, a table or a JSON document.

    Nothing is analysed again. Photos are shown where they are still the ones that were scanned. A page on at most 200
    images is one file; with more, their pictures lie beside it in a folder that belongs to it. Of more than 20,000 it
    lists those to see first.
    """
    chosen = _format(kind, out)
    if out == STDOUT:
        from nclforensics.pipelines.report import report_text  # noqa: PLC0415 - loads OpenCV

        for lines in report_text(_records_of(run), chosen.value):
            print_result(lines.removesuffix("\n"))
        return
    write_reports(run, [chosen], out=out, quiet=quiet)


def write_reports(run: Path, kinds: Sequence[ReportFormat], *, out: Path | None = None, quiet: bool = False) -> None:
    """Write reports on a scan under a progress bar, and tell on stderr their names and what is wrong with the scan.

    Args:
        run: Output folder of the scan.
        kinds: Their formats.
        out: The file of a single report; None: in the output folder.
        quiet: Neither bar nor names.

    Raises:
        MissingInputError: If the folder holds no record of a scan.
        OutputError: If a report cannot be written.
    """
    if not kinds:
        return
    from nclforensics.pipelines.report import write_report  # noqa: PLC0415 - loads OpenCV

    folder = _records_of(run)
    for kind in kinds:
        with progress_bar(total=folder.document.recorded, unit="image", quiet=quiet) as step:
            file = write_report(folder, kind.value, file=out, report=step)
        print_note(f"Report: {printable(str(file))}", quiet=quiet)


def tell_older_reports(run: Path, kinds: Container[ReportFormat], *, quiet: bool = False) -> None:
    """Say which reports in a scan's folder are of results that are replaced.

    They are left there: nobody knows whether such a file is ours.

    Args:
        run: Output folder of the scan.
        kinds: Formats that are written anew.
        quiet: Say nothing.
    """
    for kind in ReportFormat:
        file = run / f"report.{kind.value}"
        if kind not in kinds and file.is_file():
            print_note(
                f"Note: {printable(str(file))} was there before and does not show the results of this scan. "
                "Remove it, or make it anew with nclf report.",
                quiet=quiet,
            )


def _records_of(run: Path) -> ScanFolder:
    """Return a scan's records; tell what is wrong with them, also if quiet, since a table has no place for it."""
    from nclforensics.pipelines.report import ScanFolder  # noqa: PLC0415 - loads OpenCV

    folder = ScanFolder(run)
    for problem in folder.document.problems:
        print_note(f"Note: {printable(problem)}")
    return folder


def _format(kind: ReportFormat | None, out: Path | None) -> ReportFormat:
    """Return the format asked for, by name or by the file's name; the two must not disagree."""
    known = {f".{item.value}": item for item in ReportFormat}
    named = known.get(out.suffix.lower()) if out is not None else None
    if kind is not None and named is not None and kind != named:
        raise UsageError(f"Expected a file named .{kind.value} or no --format, got --format {kind.value} and {out}.")
    return kind or named or ReportFormat.HTML
