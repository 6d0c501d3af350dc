"""The report on a scan as CSV: one row an image, complete in itself, so that tables of scans can be joined."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from nclforensics.reports.render_csv import safe_cell
from nclforensics.reports.scan_document import outcome_name
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nclforensics.reports.scan_document import ScanDocument
    from nclforensics.results import Copy, Outcome, SkippedImage

    Cell = str | int | float | None

COLUMNS: Final = (
    "image",
    "outcome",
    "reason",
    "image_score",
    "score_meaning",
    "threshold",
    "false_positive_rate",
    "min_region",
    "tampered_share",
    "regions",
    "boxes",
    "copies",
    "width",
    "height",
    "format",
    "size_bytes",
    "sha256",
    "mask",
    "mask_sha256",
    "overlay",
    "overlay_sha256",
    "score_map",
    "score_map_sha256",
    "notes",
    "jpeg_quality",
    "earlier_jpeg_quality",
    "upscaled",
    "near_uniform",
    "screenshot_like",
    "levels_changed",
    "tiles",
    "device",
    "case",
    "operator",
    "started",
    "model",
    "weights_sha256",
)


def render_scan_csv(document: ScanDocument, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the table line by line.

    Boxes are "x y width height area", in stored pixels, largest region first, with "; " between them. Copies are
    "x y width height from x y width height", or "and" for "from" where it is not known which place is the copy.
    """
    yield _line(COLUMNS)
    scan: dict[str, Cell] = {
        "case": document.case,
        "operator": document.operator,
        "started": document.started,
        "model": document.model,
        "weights_sha256": document.weights_sha256,
    }
    for outcome in outcomes:
        if isinstance(outcome, ScanFinding):
            cells = _finding_cells(outcome) | {"false_positive_rate": document.setting.false_positive_rate}
        else:
            cells = _skipped_cells(outcome)
        values = cells | scan
        yield _line([values.get(column) for column in COLUMNS])


def _finding_cells(finding: ScanFinding) -> dict[str, Cell]:
    boxes = (f"{item.x} {item.y} {item.width} {item.height} {item.area}" for item in finding.regions)
    record = finding.to_record()
    facts = record | (record["quality"] or {})
    plain: dict[str, Cell] = {column: facts[column] for column in COLUMNS if column in facts}
    return {
        **plain,
        "score_meaning": None if finding.score_meaning is None else finding.score_meaning.text,
        "image": finding.path,
        "outcome": outcome_name(finding),
        "regions": len(finding.regions),
        "boxes": "; ".join(boxes),
        "copies": "; ".join(_copy(copy) for copy in finding.copies),
        "notes": "; ".join(finding.notes),
    }


def _copy(copy: Copy) -> str:
    target, source = (f"{box.x} {box.y} {box.width} {box.height}" for box in (copy.target, copy.source))
    return f"{target} {'from' if copy.directed else 'and'} {source}"


def _skipped_cells(skipped: SkippedImage) -> dict[str, Cell]:
    return {
        "image": skipped.path,
        "outcome": outcome_name(skipped),
        "reason": skipped.reason,
        "size_bytes": skipped.size_bytes,
        "sha256": skipped.sha256,
    }


def _line(cells: Iterable[Cell]) -> str:
    text = io.StringIO()
    row = [safe_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(row)  # None becomes an empty cell
    return text.getvalue()
