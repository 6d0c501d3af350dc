"""The report on a scan as PDF: chain of custody, the table of all images, and the images with evidence as pictures."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from nclforensics.reports.copy_words import copy_in_words
from nclforensics.reports.pdf_page import FRAME, MARGIN, SMALL, SMALL_LINE, Paper
from nclforensics.reports.quality_words import quality_in_words
from nclforensics.reports.scan_document import MEANINGS, first_to_see, rate_in_words
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nclforensics.reports.scan_document import Entry, Pictures, ScanDocument
    from nclforensics.results import Outcome

BLOCKS: Final = 200  # images with pictures; a page has three
LISTED: Final = 5000  # rows of the table, about a hundred pages
SHOWN_REGIONS: Final = 8
_PICTURE: Final = (57.0, 46.0)  # mm
_BLOCK: Final = 84.0  # mm that a block takes at least
_COLUMNS: Final = (
    ("no.", 11.0),
    ("image", 83.0),
    ("outcome", 42.0),
    ("score", 16.0),
    ("regions", 13.0),
    ("area", 13.0),
)
_NAME: Final = 1  # the column of names
_ROW_LINES: Final = 60  # a row of more, of a very long name, goes on in another one: no page has room for it


def shown_in_blocks(outcomes: Iterable[Outcome]) -> frozenset[int]:
    """Return the numbers, from 1, of the images that are shown as pictures: no skipped ones, and at most `BLOCKS`."""
    return first_to_see(outcomes, ("localized evidence", "inconclusive", "no localized evidence"), limit=BLOCKS)


def render_scan_pdf(document: ScanDocument, outcomes: Iterable[Outcome], blocks: Iterable[tuple[int, Entry]]) -> bytes:
    """Return the report; the same records and pictures give the same bytes.

    Args:
        document: What there is to say about the scan as a whole.
        outcomes: All images, for the table.
        blocks: The images to show as pictures, each with its number in the table.
    """
    case = f"case {document.case}, " if document.case else ""
    foot = f"results.jsonl SHA-256 {document.results_sha256}"
    paper = Paper(case=case, foot=foot, created=document.ended or document.started)
    paper.set_title("Scan for image manipulation")
    paper.add_page()
    _cover(paper, document)
    _table(paper, document, outcomes)
    _blocks(paper, document, blocks)
    return bytes(paper.output())


def _cover(paper: Paper, document: ScanDocument) -> None:
    paper.headline(f"Case {document.case}" if document.case else "Scan for image manipulation")
    paper.paragraph("Report on a scan for image manipulation", grey=True)
    for problem in document.problems:
        paper.ln(1)
        paper.paragraph(problem, bold=True)
    paper.heading("Outcome")
    paper.terms((f"{document.counts[name]:,} {name}", meaning) for name, meaning in MEANINGS.items())
    setting = document.setting
    paper.ln(1)
    paper.paragraph(
        f"Threshold {setting.threshold:.7g}, regions above {setting.min_region:.2%} of the image. "
        f"{rate_in_words(setting, document.calibration)}"
    )
    paper.heading("Chain of custody")
    paper.terms(_custody(document))
    paper.terms(_digests(document), mono=True)
    paper.heading("How to read this")
    paper.points(document.limits)
    _rates(paper, document)
    paper.heading("Repeat and verify")
    paper.terms((("command", shlex.join(document.command)), ("run in", document.working_folder)), mono=True)
    paper.terms((("verify", "nclf verify ."),), mono=True)
    paper.terms(
        (("settings", _listed(document.config)), ("versions", _listed(document.versions))),
    )


def _custody(document: ScanDocument) -> list[tuple[str, str]]:
    inputs = ", ".join(f"{item.path} ({item.images:,})" for item in document.inputs[:10])
    more = f" and {len(document.inputs) - 10} more" if len(document.inputs) > 10 else ""  # noqa: PLR2004 - as above
    return [
        ("case", document.case or "not stated"),
        ("operator", document.operator or "not stated"),
        ("started", document.started),
        ("ended", f"{document.ended or 'not recorded'} ({document.status})"),
        *(("resumed", f"{item.started} {item.operator or ''}") for item in document.resumed),
        ("inputs", inputs + more),
        ("images", f"{document.planned:,}"),
        ("integrity", "Every analysed file was opened for reading only and hashed with SHA-256 before and after."),
        ("model", document.model),
        ("device", document.device),
        ("machine", _listed(document.host)),
    ]


def _digests(document: ScanDocument) -> list[tuple[str, str]]:
    return [
        ("weights, SHA-256", document.weights_sha256),
        ("results.jsonl, SHA-256", document.results_sha256),
        ("run.json, SHA-256", document.run_sha256),
        ("settings, SHA-256", document.config_sha256),
    ]


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {'-' if value is None else value}" for name, value in values.items())


def _rates(paper: Paper, document: ScanDocument) -> None:
    calibration = document.calibration
    paper.heading("Error rates of the model")
    if not calibration.authentic:
        paper.paragraph("No error rate of this model was ever measured.")
        return
    paper.paragraph(
        f"Share of {calibration.sample} that show any region above "
        f"{calibration.min_region:.2%} of their area: {calibration.source}."
    )
    rates = zip(calibration.false_positive_rates, calibration.thresholds, strict=True)
    used = document.setting.false_positive_rate
    paper.terms(
        (f"{rate:.1%}", f"threshold {threshold:.7f}{', used here' if rate == used else ''}")
        for rate, threshold in rates
    )


def _table(paper: Paper, document: ScanDocument, outcomes: Iterable[Outcome]) -> None:
    paper.heading("Images")
    if document.recorded > LISTED:
        paper.paragraph(
            f"The first {LISTED:,} of {document.recorded:,} images; results.jsonl and the report as CSV have all.",
            grey=True,
        )
    _row(paper, [name for name, _ in _COLUMNS], heading=True)
    for number, outcome in enumerate(outcomes, start=1):
        if number > LISTED:
            break
        _row(paper, [str(number), *_cells(outcome)])


def _cells(outcome: Outcome) -> list[str]:
    if not isinstance(outcome, ScanFinding):
        return [outcome.path, f"skipped: {outcome.reason}", "", "", ""]
    decision = outcome.decision if outcome.reason is None else f"{outcome.decision}: {outcome.reason}"
    return [
        outcome.path,
        decision,
        f"{outcome.image_score:.4f}",
        str(len(outcome.regions)),
        f"{outcome.tampered_share:.2%}",
    ]


def _row(paper: Paper, cells: list[str], *, heading: bool = False) -> None:
    paper.small(bold=heading)
    widths = [width for _, width in _COLUMNS]
    columns = [
        paper.lines_of(cell, width - 1.5, anywhere=index == _NAME)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    for start in range(0, max(map(len, columns)), _ROW_LINES):
        _part_of_row(paper, [lines[start : start + _ROW_LINES] for lines in columns], heading=heading)


def _part_of_row(paper: Paper, columns: list[list[str]], *, heading: bool) -> None:
    height = SMALL_LINE * max(map(len, columns)) + 1.4
    if paper.will_page_break(height):
        paper.add_page()
        if not heading:
            _row(paper, [name for name, _ in _COLUMNS], heading=True)
            paper.small()
    x, top = MARGIN, paper.get_y()
    for index, (lines, (_, width)) in enumerate(zip(columns, _COLUMNS, strict=True)):
        for offset, line in enumerate(lines):
            paper.set_xy(x, top + 0.7 + offset * SMALL_LINE)
            paper.cell(width - 1.5, SMALL_LINE, line, align="L" if index in {_NAME, 2} else "R")
        x += width
    paper.set_draw_color(FRAME)
    paper.line(MARGIN, top + height, MARGIN + paper.epw, top + height)
    paper.set_xy(MARGIN, top + height)


def _blocks(paper: Paper, document: ScanDocument, blocks: Iterable[tuple[int, Entry]]) -> None:
    scanned = document.recorded - document.counts["skipped"]
    for index, (number, entry) in enumerate(blocks):
        if index == 0:
            paper.heading("Pictures", room=_BLOCK + 22)
            if scanned > BLOCKS:
                paper.paragraph(
                    f"{BLOCKS} of {scanned:,} scanned images: those with localized evidence first, then inconclusive "
                    "ones, then the others, higher scores first; here in the order of the table.",
                    grey=True,
                )
        assert isinstance(entry.outcome, ScanFinding)
        _block(paper, number, entry.outcome, entry.pictures)


def _block(paper: Paper, number: int, finding: ScanFinding, pictures: Pictures) -> None:
    if paper.will_page_break(_BLOCK):
        paper.add_page()
    paper.ln(2)
    paper.paragraph(f"{number}. {finding.path}", bold=True)
    reason = "" if finding.reason is None else f": {finding.reason}"
    paper.paragraph(f"{finding.decision}{reason}; image score {finding.image_score:.6f}", size=SMALL)
    _pictures(paper, pictures)
    for note in pictures.notes:
        paper.paragraph(note, size=SMALL, grey=True)
    paper.terms(_facts(finding), size=SMALL)
    paper.terms((("SHA-256", finding.sha256), ("mask, SHA-256", finding.mask_sha256)), size=SMALL, mono=True)


def _pictures(paper: Paper, pictures: Pictures) -> None:
    named = (
        ("photo", pictures.photo),
        ("overlay", pictures.overlay),
        ("score map, black 0 to light yellow 1", pictures.score_map),
        ("mask", pictures.mask),
    )
    shown = [(title, content) for title, content in named if content is not None][:3]
    if shown and paper.will_page_break(_PICTURE[1] + 5):  # below a long name
        paper.add_page()
    top = paper.get_y() + 1
    for index, (title, content) in enumerate(shown):
        paper.picture(content, title, x=MARGIN + index * (_PICTURE[0] + 3.5), y=top, box=_PICTURE)
    paper.set_xy(MARGIN, top + (_PICTURE[1] + 5 if shown else 0))


def _facts(finding: ScanFinding) -> list[tuple[str, str]]:
    regions = [
        f"{item.width} x {item.height} at ({item.x}, {item.y}), {item.area:,} pixels, mean score {item.mean_score:.3f}"
        for item in finding.regions[:SHOWN_REGIONS]
    ]
    if len(finding.regions) > SHOWN_REGIONS:
        regions.append(f"and {len(finding.regions) - SHOWN_REGIONS} smaller ones")
    turned = f", EXIF orientation {finding.orientation}: shown upright" if finding.orientation > 1 else ""
    meaning = [("score", finding.score_meaning.text)] if finding.score_meaning is not None else []
    return [
        *meaning,
        ("file", f"{finding.format}, {finding.width} x {finding.height} pixels, {finding.size_bytes:,} bytes{turned}"),
        ("decoder", finding.decoder),
        *(("note", note) for note in finding.notes),
        ("regions", f"{len(finding.regions)}, {finding.tampered_share:.2%} of the image"),
        *(("", region) for region in regions),
        *(("found twice", copy_in_words(copy)) for copy in finding.copies[:SHOWN_REGIONS]),
        *quality_in_words(finding.quality),
    ]
