"""The report on a scan as one JSON document: the scan as a whole, then every record as `results.jsonl` has it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nclforensics.reports.scan_document import ScanDocument
    from nclforensics.results import Outcome


def render_scan_json(document: ScanDocument, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the document in whole lines; it is ASCII, so that no file name can break it."""
    head = json.dumps(dataclasses.asdict(document), indent=2, allow_nan=False)
    yield head.removesuffix("\n}") + ',\n  "images": [\n'
    line = ""
    for outcome in outcomes:
        if line:
            yield f"{line},\n"
        line = f"    {json.dumps(outcome.to_record(), allow_nan=False)}"
    yield f"{line}\n  ]\n}}\n"
