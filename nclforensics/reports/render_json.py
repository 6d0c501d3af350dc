"""The evaluation report as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport


def render_json(report: EvaluationReport) -> str:
    """Return the report as indented ASCII JSON with a final newline; undefined figures are null, never NaN."""
    return json.dumps(dataclasses.asdict(report), indent=2, allow_nan=False) + "\n"
