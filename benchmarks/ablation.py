"""The ablation: what contour pivots and the contrastive terms bring at an equal budget.

    python benchmarks/ablation.py --photos DIR --out DIR [--config TOML] [--steps N] [--seeds 0 1 2] [--arms pivot ...]

Every seed and arm trains the configured network from random weights for the same number of steps on the same forged
samples, and is measured on samples forged from the photos that every run holds back, once as the forge makes them and
once with all of them saved again as JPEG. Each finished run adds a line to results.jsonl; started again with the same
settings, the command goes on where it stopped, within a run from its checkpoint. table.md is rewritten after each run.
Seeds are the outer loop, so that a partial result is balanced. Several commands with different --arms can share one
folder once the first has forged the test sets.
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

from benchmarks.heldout import SAVED_AGAIN
from nclforensics.config import EvalConfig, ForgeConfig, RunConfig, load_config
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.data.sets import load_set
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.checkpoint import CHECKPOINT_FILE
from nclforensics.pipelines.device import describe_device, processor_name, select_device
from nclforensics.pipelines.evaluate import facts_of, run_evaluation
from nclforensics.pipelines.forge import ForgeRequest, ForgeWriter
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.training_data import SPLIT_SEED

ARMS: Final[dict[str, dict[str, Any]]] = {
    "pivot": {},
    "drop": {"contour": "drop"},
    "tampered": {"contour": "tampered"},
    "authentic": {"contour": "authentic"},
    "no_consistency": {"pivot_consistency": 0.0},
    "strong": {"contrastive": 1.0, "pivot_consistency": 1.0},
    "off": {"contrastive": 0.0, "pivot_consistency": 0.0},
}
DIFFERENCES: Final = (
    *((arm, "off") for arm in ARMS if arm != "off"),
    *(("pivot", other) for other in ("drop", "tampered", "authentic", "no_consistency")),
)
MEANINGS: Final = {
    "pivot": "the default: contour patches are pivots",
    "drop": "contour patches left out of the contrastive terms",
    "tampered": "contour patches tampered in both branches",
    "authentic": "contour patches authentic in both branches",
    "no_consistency": "pivots, without the pivot-consistent term",
    "strong": "pivots, contrastive and pivot-consistent terms with weight 1 instead of 0.1",
    "off": "no contrastive term and no pivot-consistent term",
}
SHOWN: Final = ("f1@fpr5", "f1@0.5", "pixel_auc", "false_positive_rate@0.5", "again f1@fpr5", "again pixel_auc")
# Folder of a test set: what differs from the configured forge.
TEST_SETS: Final[dict[str, dict[str, Any]]] = {"test": {}, "again": SAVED_AGAIN}
AGAIN: Final = "again "  # before the name of a figure: on the set saved again
TEST_SEED: Final = 1_000  # of the forge: other samples than any run's validation
RESULTS: Final = "results.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs share; results of other settings are not comparable."""

    steps: int
    config: RunConfig
    test_samples: int
    device: str


Row = dict[str, Any]


def main() -> None:
    """Forge the test sets, run what is not yet done, print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    out: Path = arguments.out
    config = load_config(arguments.config) if arguments.config else RunConfig()
    settings = Settings(
        steps=arguments.steps, config=config, test_samples=arguments.test_samples, device=arguments.device
    )
    claim_folder(out, settings)
    for name, changes in TEST_SETS.items():
        forge_set(arguments.photos, out / name, settings, dataclasses.replace(config.forge, **changes))
    for seed in arguments.seeds:
        for arm in arguments.arms:
            if not any(row["arm"] == arm and row["seed"] == seed for row in read_rows(out)):
                append_row(out, run_one(out, settings, arguments, arm=arm, seed=seed))
                (out / "table.md").write_text(table(read_rows(out), settings), encoding="utf-8")
    print(table(read_rows(out), settings))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pristine photos")
    parser.add_argument("--out", type=Path, required=True, help="folder for sets, runs, results.jsonl and table.md")
    parser.add_argument("--config", type=Path, help="TOML of the network, the patches, the losses and the forge")
    parser.add_argument("--steps", type=int, default=640, help="optimizer steps of every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--test-samples", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare samples")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def claim_folder(out: Path, settings: Settings) -> None:
    """Store the settings in a new folder; stop if it holds results of other settings."""
    path, text = out / "settings.json", json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} holds other settings: their results cannot stand in one table. Name another --out.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def forge_set(photos: Path, folder: Path, settings: Settings, config: ForgeConfig) -> None:
    """Forge a test set of held-out photos, unless an earlier call finished it (manifest.csv is written last)."""
    if (folder / "manifest.csv").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    request = ForgeRequest(photos=photos, out=folder, count=settings.test_samples, seed=TEST_SEED, config=config)
    writer = ForgeWriter(request)
    share = settings.config.train.validation_share
    writer.pool = PhotoPool.from_folder(photos, subset="validation", validation_share=share, seed=SPLIT_SEED)
    writer.forge = Forge(writer.pool, config, TEST_SEED)
    started = time.monotonic()
    for _ in writer.write():
        pass
    summary = writer.summary()
    print(
        f"{folder.name}: {summary.counts} from {summary.photos} photos, {time.monotonic() - started:.0f} s", flush=True
    )


def run_one(out: Path, settings: Settings, arguments: argparse.Namespace, *, arm: str, seed: int) -> Row:
    """Train and measure one arm with one seed."""
    folder = out / "runs" / f"{arm}-{seed}"
    started = time.monotonic()
    config = configured(settings, arguments, arm=arm, seed=seed)
    begun = (folder / CHECKPOINT_FILE).is_file()
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was broken off before its first checkpoint
    summary = run_training(
        dataclasses.replace(config, train=dataclasses.replace(config.train, out=str(folder))),
        resume=begun,
        command="benchmarks/ablation.py",
    )
    trained = time.monotonic()
    row: Row = {
        "arm": arm,
        "seed": seed,
        "steps": summary.state.step,
        "batch_size": config.train.batch_size,
        "training_seconds": round(summary.state.seconds, 1),
        "threshold": summary.threshold,
        **measure(folder / "model", out, settings.device),
        "evaluation_seconds": round(time.monotonic() - trained, 1),
        "weights_sha256": summary.sha256,
        **machine(settings.device),
    }
    minutes = (time.monotonic() - started) / 60
    print(f"{arm} {seed}: {minutes:.1f} min,", {name: round(row["figures"][name], 4) for name in SHOWN}, flush=True)
    return row


def configured(settings: Settings, arguments: argparse.Namespace, *, arm: str, seed: int) -> RunConfig:
    """Return the configuration of one run: everything but the arm's losses and the seed is the same for all."""
    base = settings.config
    train = dataclasses.replace(
        base.train,
        dataset="forge",
        photos=str(arguments.photos),
        initial="",
        seed=seed,
        steps=settings.steps,
        minutes=0.0,
        device=settings.device,
        workers=arguments.workers,
        validate_every=0,  # the weights of the last step are measured: no choice that could differ between arms
        validation_samples=32,
    )
    return dataclasses.replace(base, losses=dataclasses.replace(base.losses, **ARMS[arm]), train=train)


def measure(weights: Path, out: Path, device: str) -> Row:
    """Return the figures of a model on the test sets, with their chance levels."""
    model = load_model(str(weights))
    localizer = Localizer(model.network, device=select_device(device))
    row: Row = {"figures": {}, "chance": {}}
    for folder, prefix in zip(TEST_SETS, ("", AGAIN), strict=True):
        loaded = load_set(str(out / folder))
        report = run_evaluation(loaded, localizer, EvalConfig(device=device), model=facts_of(model))
        for entry in report.measures:
            row["figures"][prefix + entry.name] = entry.value
            row["chance"][prefix + entry.name] = entry.chance
        for rate in report.flag_rates:
            row["figures"][f"{prefix}false_positive_rate@{rate.name}"] = rate.false_positive_rate
            row["figures"][f"{prefix}detection_rate@{rate.name}"] = rate.detection_rate
        row["tampered"], row["authentic"] = report.counts.tampered, report.counts.authentic
    return row


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
    size, train = settings.config.forge.size, settings.config.train
    return (
        f"{len(rows)} runs from random weights, {settings.steps} steps of {train.batch_size} samples of "
        f"{size} x {size}, {train.precision}, {min(seconds) / 60:.1f} to {max(seconds) / 60:.1f} minutes of training; "
        f"test sets of {first['tampered']} tampered and {first['authentic']} authentic samples of held-out photos. "
        f"{first['device']} ({first['processor']}), {first['threads']} thread; Python {first['python']}, {versions}; "
        f"{first['date']}. Mean and standard deviation over seeds.\n"
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
