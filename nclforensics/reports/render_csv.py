"""The evaluation report's images as CSV, one row each."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport

# A spreadsheet takes a cell that begins with one of these for a formula and runs it; file names come from strangers.
_FORMULA_STARTS: Final = ("=", "+", "-", "@")
_FIXED: Final = ("image", "status", "authentic", "width", "height", "sha256", "evidence", "tampered_share")


def render_csv(report: EvaluationReport) -> str:
    """Return one row an image, measured ones first; skipped ones have the reason in the column "status"."""
    names = list(dict.fromkeys(name for row in report.images for name in row.figures))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIXED, *names])
    for row in report.images:
        facts = [int(row.authentic), row.width, row.height, row.sha256, row.evidence, row.tampered_share]
        figures = [row.figures.get(name) for name in names]
        writer.writerow([safe_cell(row.image), "measured", *facts, *("" if item is None else item for item in figures)])
    for item in report.skipped:
        blanks = [""] * (len(_FIXED) - 2 + len(names))
        writer.writerow([safe_cell(item.image), safe_cell(f"skipped: {item.reason}"), *blanks])
    return text.getvalue()


def safe_cell(text: str) -> str:
    """Return a text as one harmless cell.

    Control characters are escaped, since a line break would begin a new row and a tab a formula's cell; an apostrophe
    goes before what a spreadsheet might take for a formula.
    """
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown
