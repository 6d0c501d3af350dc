"""The ablation: what contour pivots and the contrastive terms bring at a small, equal budget.

    python benchmarks/ablation.py --photos DIR --out DIR [--steps N] [--seeds 0 1 2] [--arms pivot drop ...]

One train set and one test set are forged once, from different photos. Then every seed and arm trains `lite` from
scratch for the same number of steps on the same samples and is measured on the test set. Each finished run adds a line
to results.jsonl; started again with the same settings, the command goes on where it stopped. table.md is rewritten
after each run. Seeds are the outer loop, so that a partial result is balanced.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from nclforensics.config import EvalConfig, ForgeConfig, LossConfig, RunConfig, TrainConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool, Subset
from nclforensics.data.sets import load_set
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.device import describe_device, processor_name, select_device
from nclforensics.pipelines.evaluate import facts_of, run_evaluation
from nclforensics.pipelines.forge import ForgeRequest, ForgeWriter
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.train import run_training

ARMS: Final = {
    "pivot": LossConfig(),
    "drop": LossConfig(contour="drop"),
    "no_consistency": LossConfig(pivot_consistency=0.0),
    "off": LossConfig(contrastive=0.0, pivot_consistency=0.0),
}
DIFFERENCES: Final = (("pivot", "off"), ("drop", "off"), ("no_consistency", "off"), ("pivot", "drop"))
MEANINGS: Final = {
    "pivot": "the default: contour patches are pivots",
    "drop": "contour patches left out of the contrastive terms",
    "no_consistency": "pivots, without the pivot-consistent term",
    "off": "no contrastive term and no pivot-consistent term",
}
SHOWN: Final = ("f1@fpr5", "f1@0.5", "f1_best", "pixel_auc", "false_positive_rate@0.5")
TEST_SHARE: Final = 0.2  # of the photos: none of them is in the train set
SAMPLE_SIZE: Final = 128
DATA_SEED: Final = 0  # of the split and of both forged sets: the same for every run
RESULTS: Final = "results.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs share; results of other settings are not comparable."""

    steps: int
    crop: int
    train_samples: int
    test_samples: int
    threads: int
    device: str


Row = dict[str, Any]


def main() -> None:
    """Forge the sets, run what is not yet done, print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    out: Path = arguments.out
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)})
    claim_folder(out, settings)
    forge_set(arguments.photos, out / "train", subset="train", count=settings.train_samples)
    forge_set(arguments.photos, out / "test", subset="validation", count=settings.test_samples)
    for seed in arguments.seeds:
        for arm in arguments.arms:
            if not any(row["arm"] == arm and row["seed"] == seed for row in read_rows(out)):
                append_row(out, run_one(out, settings, arm=arm, seed=seed))
                (out / "table.md").write_text(table(read_rows(out), settings), encoding="utf-8")
    print(table(read_rows(out), settings))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pristine photos")
    parser.add_argument("--out", type=Path, required=True, help="folder for sets, runs, results.jsonl and table.md")
    parser.add_argument("--steps", type=int, default=600, help="optimizer steps of every run, 16 samples each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--crop", type=int, default=96, help="side of the training crops")
    parser.add_argument("--train-samples", type=int, default=2000)
    parser.add_argument("--test-samples", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def claim_folder(out: Path, settings: Settings) -> None:
    """Store the settings in a new folder; stop if it holds results of other settings."""
    path, text = out / "settings.json", json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} holds other settings: their results cannot stand in one table. Name another --out.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def forge_set(photos: Path, folder: Path, *, subset: Subset, count: int) -> None:
    """Forge one side's samples, unless an earlier call finished them (manifest.csv is written last)."""
    if (folder / "manifest.csv").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    config = ForgeConfig(size=SAMPLE_SIZE)
    writer = ForgeWriter(ForgeRequest(photos=photos, out=folder, count=count, seed=DATA_SEED, config=config))
    writer.pool = PhotoPool.from_folder(photos, subset=subset, validation_share=TEST_SHARE, seed=DATA_SEED)
    writer.forge = Forge(writer.pool, config, DATA_SEED)
    started = time.monotonic()
    for _ in writer.write():
        pass
    summary = writer.summary()
    print(
        f"{folder.name}: {summary.counts} from {summary.photos} photos, {time.monotonic() - started:.0f} s", flush=True
    )


def run_one(out: Path, settings: Settings, *, arm: str, seed: int) -> Row:
    """Train and measure one arm with one seed."""
    folder = out / "runs" / f"{arm}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was broken off
    started = time.monotonic()
    config = RunConfig(
        losses=ARMS[arm],
        forge=ForgeConfig(size=settings.crop),
        train=TrainConfig(
            dataset=str(out / "train"),
            out=str(folder),
            seed=seed,
            steps=settings.steps,
            warmup_steps=max(1, settings.steps // 10),
            precision="bf16",
            device=settings.device,
            workers=0,
            checkpoint_minutes=1e6,
            validate_every=0,  # the weights of the last step are measured: no choice that could differ between arms
            validation_share=0.05,
            validation_samples=32,
        ),
    )
    summary = run_training(config, command="benchmarks/ablation.py")
    trained = time.monotonic()
    row: Row = {
        "arm": arm,
        "seed": seed,
        "steps": summary.state.step,
        "training_seconds": round(summary.state.seconds, 1),
        **measure(folder / "model", out / "test", settings.device),
        "evaluation_seconds": round(time.monotonic() - trained, 1),
        "weights_sha256": summary.sha256,
        **machine(settings.device),
    }
    minutes = (time.monotonic() - started) / 60
    print(f"{arm} {seed}: {minutes:.1f} min,", {name: round(row["figures"][name], 4) for name in SHOWN}, flush=True)
    return row


def measure(weights: Path, dataset: Path, device: str) -> Row:
    """Return the figures of a model on the test set, with their chance levels."""
    model = load_model(str(weights))
    localizer = Localizer(model.network, device=select_device(device))
    report = run_evaluation(load_set(str(dataset)), localizer, EvalConfig(device=device), model=facts_of(model))
    figures = {entry.name: entry.value for entry in report.measures}
    for rate in report.flag_rates:
        figures[f"false_positive_rate@{rate.name}"] = rate.false_positive_rate
        figures[f"detection_rate@{rate.name}"] = rate.detection_rate
    return {
        "figures": figures,
        "chance": {entry.name: entry.chance for entry in report.measures if entry.chance is not None},
        "tampered": report.counts.tampered,
        "authentic": report.counts.authentic,
    }


def machine(device: str) -> Row:
    """Return what the run was computed with."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": describe_device(select_device(device)),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("torch", "numpy", "opencv-python")},
        "python": platform.python_version(),
    }


def append_row(out: Path, row: Row) -> None:
    """Add a finished run to the results."""
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(out: Path) -> list[Row]:
    """Return the finished runs."""
    path = out / RESULTS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def table(rows: list[Row], settings: Settings) -> str:
    """Return the finished runs as Markdown: the arms, their differences paired by seed, and every run."""
    arms = [arm for arm in ARMS if any(row["arm"] == arm for row in rows)]
    values = {
        (arm, name): {row["seed"]: float(row["figures"][name]) for row in rows if row["arm"] == arm}
        for arm in arms
        for name in SHOWN
    }
    header = f"| arm | seeds | {' | '.join(SHOWN)} |\n|---|---|{'---|' * len(SHOWN)}\n"
    lines = [caption(rows, settings), "\n", header]
    for arm in arms:
        cells = [spread(list(values[arm, name].values())) for name in SHOWN]
        lines.append(f"| {arm}: {MEANINGS[arm]} | {len(values[arm, SHOWN[0]])} | {' | '.join(cells)} |\n")
    lines += ["\nDifferences, paired by seed:\n\n", header.replace("| arm", "| arms")]
    for arm, other in DIFFERENCES:
        if arm in arms and other in arms:
            pairs = {name: paired(values[arm, name], values[other, name]) for name in SHOWN}
            cells = [spread(pairs[name], signed=True) for name in SHOWN]
            lines.append(f"| {arm} - {other} | {len(pairs[SHOWN[0]])} | {' | '.join(cells)} |\n")
    return "".join([*lines, "\n", *seed_table({arm: values[arm, SHOWN[0]] for arm in arms})])


def seed_table(values: dict[str, dict[int, float]]) -> list[str]:
    """Return the headline figure of every single run."""
    seeds = sorted({seed for runs in values.values() for seed in runs})
    lines = [f"{SHOWN[0]} of every run:\n\n", f"| arm | {' | '.join(f'seed {seed}' for seed in seeds)} |\n"]
    lines.append(f"|---|{'---|' * len(seeds)}\n")
    for arm, runs in values.items():
        cells = [f"{runs[seed]:.3f}" if seed in runs else "-" for seed in seeds]
        lines.append(f"| {arm} | {' | '.join(cells)} |\n")
    return lines


def caption(rows: list[Row], settings: Settings) -> str:
    """Return the conditions of the runs in words."""
    first = rows[0]
    seconds = [row["training_seconds"] for row in rows]
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    return (
        f"{len(rows)} runs of {settings.steps} steps, 16 crops of {settings.crop} x {settings.crop} each, bf16, "
        f"{min(seconds) / 60:.1f} to {max(seconds) / 60:.1f} minutes of training; train set of "
        f"{settings.train_samples} and test set of {first['tampered']} tampered and {first['authentic']} authentic "
        f"samples, {SAMPLE_SIZE} x {SAMPLE_SIZE}. {first['device']} ({first['processor']}), {first['threads']} thread; "
        f"Python {first['python']}, {versions}; {first['date']}. Mean and standard deviation over seeds.\n"
    )


def paired(values: dict[int, float], baseline: dict[int, float]) -> list[float]:
    """Return the differences at the seeds that both have."""
    return [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())]


def spread(values: list[float], *, signed: bool = False) -> str:
    """Return mean and standard deviation (n - 1) as text."""
    if not values:
        return "-"
    mean = f"{np.mean(values):{'+' if signed else ''}.3f}"
    return f"{mean} +- {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
