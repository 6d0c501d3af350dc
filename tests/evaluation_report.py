"""A small evaluation report, made by hand, for every test that renders one."""

from __future__ import annotations

import dataclasses

from nclforensics.reports.document import (
    SCHEMA_VERSION,
    Case,
    Counts,
    DegradationText,
    EvaluationReport,
    FlagRate,
    ImageRow,
    Measure,
    Origin,
    Protocol,
    Robustness,
    RobustnessPoint,
    SkippedItem,
)
from nclforensics.reports.published import PublishedRow

FLAGS = FlagRate("model", 0.91, 3, 100, 0.03, (0.0103, 0.0845), 4, 10, 0.4, (0.168, 0.687))


def make_report(*, image: str = "a.jpg", skipped: int = 1) -> EvaluationReport:
    """Return a small report with an undefined figure, and nothing of what is optional."""
    words = {field.name: f"the {field.name}" for field in dataclasses.fields(Protocol)}
    figures: dict[str, float | None] = {"f1@0.5": 0.5, "pixel_auc": None}
    return EvaluationReport(
        schema_version=SCHEMA_VERSION,
        tool="nclforensics",
        tool_version="0.0.0",
        protocol=Protocol(**words),
        counts=Counts(listed=2 + skipped, tampered=1, authentic=1, skipped=skipped, resized_masks=0),
        measures=(
            Measure("f1@0.5", 0.5, (0.25, 0.75), 1, "a meaning", 0.125),
            Measure("image_auc", None, None, 0, "another meaning"),
        ),
        flag_rates=(FLAGS,),
        warnings=("a warning",),
        images=(
            ImageRow(image, False, 64, 48, "ff00", "1234", 0.75, 0.875, 0.2, figures),
            ImageRow("b.jpg", True, 64, 48, "00ff", "", 0.25, 0.375, 0.0, {}),
        ),
        skipped=tuple(SkippedItem(f"{number}.jpg", "it is empty") for number in range(skipped)),
        published=(),
        robustness=None,
        cases=(),
        origin=Origin(
            command=("nclf", "eval", "a set"),
            created="2026-11-23T18:00:00+00:00",
            config={"protocol": "native", "tile": 2048, "false_positive_rate": 0.05, "robustness": False},
            data_sha256="ab" * 32,
            device="cpu",
            versions={"nclforensics": "0.0.0", "python": "3.11"},
        ),
    )


def make_full_report(*, image: str = "a.jpg") -> EvaluationReport:
    """Return a report with peers, robustness and one case."""
    levels = [("none", ""), *(("jpeg", f"quality {quality}") for quality in (90, 50)), ("social", "1080 px q65")]
    points = tuple(
        RobustnessPoint(
            family,
            level,
            (
                Measure("f1@0.5", 0.5 - 0.1 * number, (0.1, 0.6), 10, "a meaning", 0.125),
                Measure("pixel_auc", None if number == 3 else 0.8, None, 10, "a meaning", 0.5),
            ),
            FLAGS,
        )
        for number, (family, level) in enumerate(levels)
    )
    texts = (
        DegradationText("jpeg", "JPEG recompression", "saved again"),
        DegradationText("social", "Social-network chain", "posted"),
    )
    return dataclasses.replace(
        make_report(image=image),
        published=(PublishedRow("A Net", "coverage", "f1@0.5", 0.7, 0.6, "mvss", "a paper", "a caveat"),),
        robustness=Robustness("1 tampered and 1 authentic images", texts, points),
        cases=(Case("best", image, "f1@0.5", 0.5, 0.5, "cases/01-best"),),
    )
