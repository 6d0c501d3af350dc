"""What `nclf eval --out` leaves: the report for machines, for spreadsheets and for people, and the pictures in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nclforensics.errors import OutputError
from nclforensics.pipelines.outputs import write_atomic
from nclforensics.reports.render_csv import render_csv, render_robustness_csv
from nclforensics.reports.render_html import render_html
from nclforensics.reports.render_json import render_json
from nclforensics.reports.robustness_plot import draw_robustness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nclforensics.reports.document import EvaluationReport

REPORT_FILE: Final = "report.json"
_LONGEST_NAME: Final = 80


def report_folders(out: Path, names: Sequence[str], *, force: bool) -> list[Path]:
    """Return the folder of each data set's report: `out` itself for one set, a folder in it for each of several.

    Args:
        out: The value of `--out`.
        names: The data sets, as the user named them.
        force: Whether an earlier report may be replaced.

    Raises:
        OutputError: If there is an earlier report, or no folder can be there.
    """
    folders = [out] if len(names) == 1 else [out / name for name in _folder_names(names)]
    if out.exists() and not out.is_dir():
        raise OutputError(f"Expected a folder for the report, but {out} is a file.")
    earlier = [folder / REPORT_FILE for folder in folders if (folder / REPORT_FILE).exists()]
    if earlier and not force:
        raise OutputError(f"{earlier[0]} is an earlier report. Choose another folder, or replace it with --force.")
    return folders


def write_report(report: EvaluationReport, pictures: Mapping[str, bytes], folder: Path) -> None:
    """Write report.html, report.csv, the pictures and, after them, report.json, whose presence means that all is there.

    Raises:
        OutputError: If a file cannot be written.
    """
    files = {
        "report.html": render_html(report, pictures).encode(),
        "report.csv": render_csv(report).encode(),
        **pictures,
    }
    if report.robustness is not None:
        files["robustness.csv"] = render_robustness_csv(report).encode()
        files["robustness.png"] = draw_robustness(report)
    for name, content in files.items():
        write_atomic(folder / name, content)
    write_atomic(folder / REPORT_FILE, render_json(report).encode())


def _folder_names(names: Sequence[str]) -> list[str]:
    """Return one portable, distinct folder name for each data set: the last part of its name."""
    taken: list[str] = []
    for name in names:
        last = re.split(r"[/\\:]", name.rstrip("/\\"))[-1]
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", last).strip(".")[:_LONGEST_NAME] or "set"
        number, unique = 2, plain
        while unique.lower() in {other.lower() for other in taken}:
            unique, number = f"{plain}-{number}", number + 1
        taken.append(unique)
    return taken
