"""Print the robustness section of a model's card from the reports of `nclf eval --robustness --out DIR`.

Run from the repository root: python scripts/robustness_table.py DIR/*/report.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from nclforensics.reports.render_json import read_json

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport, RobustnessPoint

FIGURES = ("f1@fpr5", "f1@0.5", "pixel_auc")


def main() -> None:
    """Read the reports named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="a report.json")
    arguments = parser.parse_args()
    reports = [read_json(path.read_text(encoding="utf-8")) for path in arguments.reports]
    for path, report in zip(arguments.reports, reports, strict=True):
        if report.robustness is None:
            parser.error(f"Expected a report of nclf eval --robustness at {path}, found one without these figures.")
    print("\n".join(table(reports)))


def table(reports: list[EvaluationReport]) -> list[str]:
    """Return one line a level: means over the sets, and the false alarms of those with authentic images."""
    by_level: dict[tuple[str, str], list[RobustnessPoint]] = {}
    for report in reports:
        assert report.robustness is not None
        for row in report.robustness.points:
            by_level.setdefault((row.family, row.level), []).append(row)
    lines = [f"| degradation | level | {' | '.join(FIGURES)} | false alarms |", "|" + "---|" * (len(FIGURES) + 3)]
    for (family, level), rows in by_level.items():
        cells = [f"{mean(value_of(row, name) for row in rows):.3f}" for name in FIGURES]
        flags = [row.flags for row in rows if row.flags is not None]
        alarms, authentic = sum(flag.authentic_flagged for flag in flags), sum(flag.authentic_count for flag in flags)
        lines.append(f"| {family} | {level or 'as they are'} | {' | '.join(cells)} | {alarms} of {authentic} |")
    return lines


def value_of(row: RobustnessPoint, name: str) -> float:
    """Return one figure of a level."""
    return next(measure.value for measure in row.measures if measure.name == name and measure.value is not None)


if __name__ == "__main__":
    main()
