"""What `nclf eval --out` leaves: the report for machines, for spreadsheets and for people, and the pictures in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nclforensics.data.manifest import MANIFEST_NAME
from nclforensics.errors import OutputError
from nclforensics.pipelines.outputs import is_inside, remove_file, write_atomic
from nclforensics.reports.render_csv import render_csv, render_robustness_csv
from nclforensics.reports.render_html import render_html
from nclforensics.reports.render_json import render_json
from nclforensics.reports.robustness_plot import draw_robustness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet
    from nclforensics.reports.document import EvaluationReport

REPORT_FILE: Final = "report.json"
_ROBUSTNESS_FILES: Final = ("robustness.csv", "robustness.png")
_FILES: Final = (REPORT_FILE, "report.csv", "report.html", *_ROBUSTNESS_FILES)
_LONGEST_NAME: Final = 80


def report_folders(out: Path, sets: Sequence[LoadedSet], *, force: bool) -> list[Path]:
    """Return the folder of each data set's report: `out` itself for one set, a folder in it for each of several.

    Args:
        out: The value of `--out`.
        sets: The data sets.
        force: Whether an earlier report may be replaced, and a set's own folder be written to.

    Raises:
        OutputError: If there is an earlier report or a file of a set, no folder can be there, or a set's folder is.
    """
    folders = [out] if len(sets) == 1 else [out / name for name in _folder_names([item.name for item in sets])]
    if out.exists() and not out.is_dir():
        raise OutputError(f"Expected a folder for the report, but {out} is a file.")
    files = [folder / name for folder in folders for name in _FILES]
    for path in (out, *files):
        refuse_data(path, sets, inside=force)
    earlier = [path for path in files if path.exists()]
    if earlier and not force:
        raise OutputError(f"{earlier[0]} is an earlier report. Choose another folder, or replace it with --force.")
    return folders


def refuse_data(path: Path, sets: Iterable[LoadedSet], *, inside: bool) -> None:
    """Refuse to write onto a file of a data set, or into its folder.

    Args:
        path: What is to be written.
        sets: The data sets.
        inside: Allow the folder.

    Raises:
        OutputError: With what to do.
    """
    for item in sets:
        if item.has_file(path):
            raise OutputError(f"{path} is a file of the data set {item.name}. Choose another name.")
        folder = item.root.parent if item.root.name == MANIFEST_NAME else item.root
        if not inside and folder.is_dir() and is_inside(path, folder):
            raise OutputError(
                f"{path} lies inside the data set {folder}, which must stay as it is. Choose a place elsewhere, or "
                "allow a new file there with --force."
            )


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
    for name in (REPORT_FILE, *_ROBUSTNESS_FILES):  # of an earlier report that is replaced
        remove_file(folder / name)
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
