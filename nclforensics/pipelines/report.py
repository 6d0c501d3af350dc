"""Reports on a finished or interrupted scan, made from its folder.

A picture is shown only if it is the one that was recorded: a photo or an output whose SHA-256 differs from the record
is left out, and the report says so. Nothing but the report is written.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nclforensics.errors import MissingInputError, OutputError, UsageError
from nclforensics.pipelines.outputs import (
    PREVIOUS_FILES,
    RESULTS_FILE,
    RUN_FILE,
    SUFFIXES,
    TIMINGS_FILE,
    cannot_write,
    is_inside,
    resolved,
    write_pieces,
)
from nclforensics.pipelines.report_pictures import HTML_SIDE, PDF_SIDE, PictureMaker
from nclforensics.pipelines.resume import no_record, parse_line, read_run
from nclforensics.reports.render_scan_csv import render_scan_csv
from nclforensics.reports.render_scan_html import render_scan_html
from nclforensics.reports.render_scan_json import render_scan_json
from nclforensics.reports.scan_document import Entry, first_to_see, outcome_name, scan_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nclforensics.reports.scan_document import ScanDocument
    from nclforensics.results import Outcome

REPORT_FORMATS: Final = ("html", "csv", "json", "pdf")
# With more images than this the pictures of a page lie beside it, in a folder: 200 images make about 40 MB.
INLINE_IMAGES: Final = 200
# And with more than this it lists some only: a record takes 1 KB of the page, and what a browser holds is limited.
LISTED_IMAGES: Final = 20_000


class ScanFolder:
    """The records of a scan, read as they are at this moment.

    Args:
        out: The output folder of the scan.

    Raises:
        MissingInputError: If the folder holds no record of a scan that this version can read.

    Attributes:
        out: The output folder.
        run: Content of `run.json`.
        document: What a report says about the scan as a whole.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.run: dict[str, Any] = read_run(out)
        self._bytes = 0
        counts: Counter[str] = Counter()
        unreadable = 0
        digest = hashlib.sha256()
        for line in self._lines():
            self._bytes += len(line)
            digest.update(line)
            outcome = parse_line(line)
            if outcome is None:
                unreadable += 1
            else:
                counts[outcome_name(outcome)] += 1
        if unreadable and not counts:
            raise MissingInputError(f"No line of {out / RESULTS_FILE} is a record as this version of nclf writes it.")
        try:
            self.document: ScanDocument = scan_document(
                self.run,
                counts=counts,
                unreadable=unreadable,
                results_sha256=digest.hexdigest(),
                run_sha256=hashlib.sha256((out / RUN_FILE).read_bytes()).hexdigest(),
            )
        except KeyError as error:
            raise no_record(out / RUN_FILE, f'without "{error.args[0]}"') from error
        except (TypeError, ValueError) as error:
            raise no_record(out / RUN_FILE, f"with a value of another kind: {error}") from error

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what was found, in the order of the records."""
        left = self._bytes  # a scan that still runs may have appended more
        for line in self._lines():
            left -= len(line)
            if left < 0:
                return
            outcome = parse_line(line)
            if outcome is not None:
                yield outcome

    def _lines(self) -> Iterator[bytes]:
        try:
            with (self.out / RESULTS_FILE).open("rb") as file:
                yield from file
        except OSError as error:
            raise MissingInputError(
                f"Expected records at {self.out / RESULTS_FILE}, cannot read it: {error.strerror}."
            ) from error


def write_report(
    folder: ScanFolder, kind: str, *, file: Path | None = None, report: Callable[[], None] = lambda: None
) -> Path:
    """Write a report on a scan and return its file.

    Args:
        folder: The records of the scan.
        kind: One of `REPORT_FORMATS`.
        file: Where to write it; None: `report.<kind>` in the output folder. The pictures of a page on more than
            `INLINE_IMAGES` images go to the folder `<name of the file>_files` beside it.
        report: Called after each image.

    Raises:
        OutputError: If the report cannot be written, or would lie among the evidence or replace a record.
    """
    target = folder.out / f"report.{kind}" if file is None else file
    _check_targets([target, _pictures_folder(target)] if kind == "html" else [target], folder)
    if kind == "pdf":
        write_pieces(target, _pdf(folder, report))
    elif kind == "html":
        write_pieces(target, _encoded(_html(folder, target, report)))
    else:
        write_pieces(target, _encoded(report_text(folder, kind, report=report)))
    return target


def report_text(folder: ScanFolder, kind: str, *, report: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Yield a report without pictures, "csv" or "json", piece by piece.

    Raises:
        UsageError: If the format has pictures, which a stream of text cannot carry.
    """
    renderers = {"csv": render_scan_csv, "json": render_scan_json}
    if kind not in renderers:
        raise UsageError(f"Expected a format without pictures to print, csv or json, got {kind}. Name a file instead.")
    return renderers[kind](folder.document, _told(folder.outcomes(), report))


def _html(folder: ScanFolder, target: Path, report: Callable[[], None]) -> Iterator[str]:
    inline = folder.document.recorded <= INLINE_IMAGES
    beside = _pictures_folder(target)

    def store(name: str, content: bytes) -> str:
        try:
            beside.mkdir(parents=True, exist_ok=True)
            (beside / name).unlink(missing_ok=True)  # a link would lead the bytes elsewhere
            (beside / name).write_bytes(content)  # not forced to the disk one by one: they can be made again
        except OSError as error:
            raise cannot_write(beside / name, error) from error
        return f"{quote(os.fsencode(beside.name))}/{name}"

    pictures = PictureMaker(folder.out, folder.document.working_folder, side=HTML_SIDE)
    order = ("localized evidence", "inconclusive", "skipped", "no localized evidence")
    listed = first_to_see(folder.outcomes(), order, limit=LISTED_IMAGES)
    entries = _entries(folder, listed, pictures, report)
    yield from render_scan_html(folder.document, entries, listed=len(listed), store=None if inline else store)


def _pdf(folder: ScanFolder, report: Callable[[], None]) -> list[bytes]:
    from nclforensics.reports.render_scan_pdf import render_scan_pdf, shown_in_blocks  # noqa: PLC0415 - its library loads slowly

    pictures = PictureMaker(folder.out, folder.document.working_folder, side=PDF_SIDE)
    chosen = shown_in_blocks(folder.outcomes())
    return [render_scan_pdf(folder.document, folder.outcomes(), _entries(folder, chosen, pictures, report))]


def _entries(
    folder: ScanFolder, chosen: frozenset[int], pictures: PictureMaker, report: Callable[[], None]
) -> Iterator[tuple[int, Entry]]:
    """Yield the chosen images with their numbers, from 1."""
    for number, outcome in enumerate(_told(folder.outcomes(), report), start=1):
        if number in chosen:
            yield number, Entry(outcome, pictures.of(outcome))


def _told(outcomes: Iterable[Outcome], report: Callable[[], None]) -> Iterator[Outcome]:
    for outcome in outcomes:
        yield outcome
        report()


def _encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    return (piece.encode() for piece in pieces)


def _pictures_folder(target: Path) -> Path:
    """Return the folder for the pictures of a page on many images."""
    return target.with_name(f"{target.stem}_files")


def _check_targets(targets: list[Path], folder: ScanFolder) -> None:
    """Refuse to write among the evidence, or over a photo, a record or an output of the scan."""
    ours = [folder.out / name for name in (RESULTS_FILE, RUN_FILE, TIMINGS_FILE)]
    ours += folder.out.glob(PREVIOUS_FILES.format("*"))
    scan = {resolved(file) for file in ours}
    places = [Path(folder.document.working_folder, item.path) for item in folder.document.inputs]
    evidence = {name for place in places for name in _names(place)}
    for target in targets:
        _check_target(target, folder, scan=scan, evidence=evidence)


def _check_target(target: Path, folder: ScanFolder, *, scan: set[Path], evidence: set[Path]) -> None:
    if resolved(target) in scan or target.name.endswith(SUFFIXES):
        raise OutputError(f"The report {target} would replace a file of the scan. Choose another name.")
    around = _around(target) & evidence
    # Whoever put the output folder into an input folder wants the report there as well.
    if around and not (is_inside(target, folder.out) and around <= _around(folder.out)):
        raise OutputError(f"The report {target} lies among the evidence in {min(around)}. Choose another place.")
    if not os.path.exists(target):  # noqa: PTH110 - unlike Path.exists it never raises
        return
    # A photo may have been named by itself, and a link in an input folder may have led to photos elsewhere.
    place = resolved(target)
    for photo in (Path(folder.document.working_folder, outcome.path) for outcome in folder.outcomes()):
        if _is_same_file(target, photo) or resolved(photo).is_relative_to(place):
            raise OutputError(f"The report {target} would replace {photo}, which is evidence. Choose another name.")


def _names(path: Path) -> set[Path]:
    """Return where a path leads, and what it is called."""
    return {resolved(path), path.absolute()}


def _around(path: Path) -> set[Path]:
    """Return a path and the folders it lies in, whether links are followed or taken for what they are called."""
    return {place for name in _names(path) for place in (name, *name.parents)}


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one is gone, or has a name that no file can have
        return False
