"""Turn a finished run into a shipped model: copy it, measure it on data sets, put the table into its card.

    python scripts/release_model.py runs/ncl-lite-v4 --sets DIR [DIR ...]

The card's prose is written by hand; what stands between its marks `<!-- figures -->` and `<!-- /figures -->` is
replaced by the measured table. `evaluation.json` holds the same figures with intervals and protocols.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nclforensics.config import EvalConfig
from nclforensics.data.sets import load_set
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.evaluate import facts_of, run_evaluation
from nclforensics.pipelines.inference import Localizer

if TYPE_CHECKING:
    from nclforensics.reports.document import EvaluationReport

MODELS = Path(__file__).resolve().parent.parent / "models"
COLUMNS = ("f1@fpr5", "f1@model", "f1@0.5", "f1_best", "pixel_auc")
START, END = "<!-- figures -->", "<!-- /figures -->"


def main() -> None:
    """Copy, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of `nclf train`; its name becomes the model's name")
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="folders with manifest.csv, masks, images")
    parser.add_argument("--both-places", nargs="*", default=[], help="sets whose masks mark the original of a copy too")
    arguments = parser.parse_args()
    folder = MODELS / arguments.run.resolve().name
    if not (arguments.run / "model").is_dir():
        parser.error(f"Expected a finished run with a folder model at {arguments.run}, found none.")
    if not (folder / "card.md").is_file():
        parser.error(f"Expected the card's prose at {folder / 'card.md'}, with the two marks, found no such file.")
    for name in ("weights.safetensors", "manifest.toml", "config.toml"):
        shutil.copyfile(arguments.run / "model" / name, folder / name)
    model = load_model(folder)
    both = set(arguments.both_places)
    reports = {path.name: measure(model, path, both_places=path.name in both) for path in arguments.sets}
    summary = {name: summarize(report) for name, report in reports.items()}
    (folder / "evaluation.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    update_card(folder / "card.md", figures(model, reports))


def measure(model: LoadedModel, path: Path, *, both_places: bool) -> EvaluationReport:
    """Evaluate the model on one set, at native size."""
    print(f"measuring {path.name}", file=sys.stderr)
    localizer = Localizer(model.network, device=select_device("cpu"), both_places=both_places)
    config = EvalConfig(both_places=both_places)
    return run_evaluation(load_set(str(path)), localizer, config, model=facts_of(model))


def summarize(report: EvaluationReport) -> dict[str, Any]:
    """Return the report without its rows: the images themselves are not ours to list."""
    document = asdict(report)
    document["protocol"]["dataset"] = Path(document["protocol"]["dataset"]).name  # no folder of this machine
    return {key: document[key] for key in ("protocol", "counts", "measures", "flag_rates", "warnings")}


def figures(model: LoadedModel, reports: dict[str, EvaluationReport]) -> str:
    """Return the tables of the card."""
    head = f"| set | tampered / authentic | {' | '.join(COLUMNS)} | all-ones f1 |"
    lines = [head, "|" + "---|" * (len(COLUMNS) + 3)]
    sums = dict.fromkeys(COLUMNS, 0.0)
    for name, report in reports.items():
        values = {m.name: m for m in report.measures}
        cells = [_cell(values[column].value, values[column].interval) for column in COLUMNS]
        for column in COLUMNS:
            sums[column] += values[column].value or 0.0
        counts = f"{report.counts.tampered} / {report.counts.authentic}"
        lines.append(f"| {name} | {counts} | {' | '.join(cells)} | {_cell(values['f1@0.5'].chance, None)} |")
    means = " | ".join(f"{sums[column] / len(reports):.3f}" for column in COLUMNS)
    lines += [f"| mean over sets | | {means} | |", "", *_false_alarms(model, reports)]
    return "\n".join(lines)


def _false_alarms(model: LoadedModel, reports: dict[str, EvaluationReport]) -> list[str]:
    calibration = model.calibration
    lines = [
        "| threshold | authentic images with a region above it | tampered images with a region above it |",
        "|---|---|---|",
    ]
    for rate, threshold in zip(calibration.false_positive_rates, calibration.thresholds, strict=True):
        lines.append(f"| {threshold:.4f} | {rate:.0%} of {calibration.sample} (held out, set here) | |")
    for name, report in reports.items():
        for row in report.flag_rates:
            if row.name == "fpr5":
                continue
            flagged = f"{row.authentic_flagged} of {row.authentic_count} ({name}"
            if row.false_positive_interval is not None:
                low, high = row.false_positive_interval
                flagged += f", 95 % interval {low:.2f} to {high:.2f}"
            found = f"{row.tampered_flagged} of {row.tampered_count} ({name})"
            lines.append(f"| {row.threshold:.4f} ({row.name}) | {flagged}) | {found} |")
    return lines


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.2f}-{interval[1]:.2f})"


def update_card(path: Path, table: str) -> None:
    """Replace what stands between the marks."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(START, 1)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
