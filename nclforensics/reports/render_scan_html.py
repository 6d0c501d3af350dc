"""The report on a scan as one HTML page: no network, no rights, readable with ten thousand images.

The page holds one block of JSON with all records, and shows a page of the table at a time. Names come from strangers:
the template engine and the script only ever insert them as text, JSON is written so that it cannot end its block, and
the Content-Security-Policy lets nothing run but the page's own script.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

from nclforensics.reports.copy_words import copy_in_words
from nclforensics.reports.html_page import data_uri, environment, hex_color, policy, template_file
from nclforensics.reports.overlay import color_scale
from nclforensics.reports.printable import printable
from nclforensics.reports.quality_words import quality_in_words
from nclforensics.reports.scan_document import MEANINGS, outcome_name, rate_in_words
from nclforensics.reports.upright import upright_box, upright_size
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nclforensics.reports.scan_document import Entry, Pictures, ScanDocument
    from nclforensics.results import Region

# Picture of an entry -> ending of its file, media type.
PICTURE_KINDS: Final = {
    "photo": (".photo.jpg", "image/jpeg"),
    "overlay": (".overlay.jpg", "image/jpeg"),
    "mask": (".regions.png", "image/png"),
    "score_map": (".scores.jpg", "image/jpeg"),
}
_RAMP_STEPS: Final = 64


def render_scan_html(
    document: ScanDocument,
    entries: Iterable[tuple[int, Entry]],
    *,
    listed: int,
    store: Callable[[str, bytes], str] | None = None,
) -> Iterator[str]:
    """Yield the page piece by piece, so that the pictures of all images are never in memory together.

    Args:
        document: What there is to say about the scan as a whole.
        entries: The images, each with its number among the records.
        listed: How many there are of them; the page says so where these are not all.
        store: Writes a picture beside the page, given its name, and returns its address relative to the page. None:
            the pictures become part of the page.
    """
    style, script = template_file("scan.css"), template_file("scan.js")
    # A page opened from a disk has no origin: "file:" stands for the folder beside it, "'self'" for one on a server.
    images = "data:" if store is None else "data: 'self' file:"
    yield from (
        environment()
        .get_template("scan.html.j2")
        .generate(
            document=document,
            policy=policy(style, script, images=images),
            style=style,
            script=script,
            meanings=MEANINGS,
            rate=rate_in_words(document.setting, document.calibration),
            rates=zip(document.calibration.false_positive_rates, document.calibration.thresholds, strict=True),
            command=shlex.join(document.command),
            ramp=[hex_color(color) for color in color_scale()[:: 256 // _RAMP_STEPS].tolist()],
            setting=_embedded({"threshold": document.setting.threshold, "outcomes": list(MEANINGS)}),
            listed=listed,
            records=(_embedded(_record(number, entry, store)) for number, entry in entries),
        )
    )


def _embedded(value: dict[str, Any]) -> str:
    """Return JSON that may stand inside a script element: ASCII, without anything that could end or begin a tag."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _record(number: int, entry: Entry, store: Callable[[str, bytes], str] | None) -> dict[str, Any]:
    """Return what the page shows of an image; every text is printable already."""
    outcome = entry.outcome
    shown = {
        "number": number,
        "path": printable(outcome.path),
        "outcome": outcome_name(outcome),
        "reason": None if outcome.reason is None else printable(outcome.reason),
        "bytes": outcome.size_bytes,
        "sha256": outcome.sha256,
        "pictures": _addresses(number, entry.pictures, store),
        "missing": [printable(note) for note in entry.pictures.notes],
    }
    return {**shown, **_finding_fields(outcome)} if isinstance(outcome, ScanFinding) else shown


def _finding_fields(finding: ScanFinding) -> dict[str, Any]:
    orientation = finding.orientation
    width, height = upright_size(finding.width, finding.height, orientation)
    files = [("mask", finding.mask, finding.mask_sha256), ("overlay", finding.overlay, finding.overlay_sha256)]
    files.append(("score map", finding.score_map, finding.score_map_sha256))
    return {
        "score": finding.image_score,
        "share": finding.tampered_share,
        "width": finding.width,
        "height": finding.height,
        "shown": [width, height],
        "format": finding.format,
        "decoder": printable(finding.decoder),
        "orientation": orientation,
        "tiles": finding.tiles,
        "device": printable(finding.device),
        "notes": [printable(note) for note in finding.notes],
        "meaning": None if finding.score_meaning is None else printable(finding.score_meaning.text),
        "quality": [[term, printable(value)] for term, value in quality_in_words(finding.quality)],
        "regions": [_region(region, finding, orientation) for region in finding.regions],
        "copies": [copy_in_words(copy) for copy in finding.copies],
        "files": [[title, printable(name), digest] for title, name, digest in files if name is not None],
    }


def _region(region: Region, finding: ScanFinding, orientation: int) -> dict[str, Any]:
    box = (region.x, region.y, region.width, region.height)
    return {
        "box": box,
        "shown": upright_box(box, finding.width, finding.height, orientation),
        "area": region.area,
        "mean": region.mean_score,
        "max": region.max_score,
    }


def _addresses(number: int, pictures: Pictures, store: Callable[[str, bytes], str] | None) -> dict[str, str]:
    addresses = {}
    for field, (ending, kind) in PICTURE_KINDS.items():
        content = getattr(pictures, field)
        if content is not None:
            name = f"{number:06d}{ending}"
            addresses[field] = data_uri(content, kind) if store is None else store(name, content)
    return addresses
