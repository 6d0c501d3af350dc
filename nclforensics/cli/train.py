"""`nclf train`: train a network from scratch."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeAlias

import typer

from nclforensics.cli.console import print_note, print_result
from nclforensics.cli.options import (  # noqa: TC001 - read at run time
    AllowMissingOption,
    DataRootOption,
    Precision,
    QuietOption,
)
from nclforensics.cli.stop_request import StopRequest
from nclforensics.config import RunConfig, load_config
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.pipelines.train import TrainingSummary

EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf train --photos photos/ --minutes 100 --out runs/first   (forgeries made on the fly)\n\n"
    "nclf train --dataset casia --data-root /data --steps 20000   (finds CASIA v2 there)\n\n"
    "nclf train --dataset mine/ --steps 20000   (a folder with manifest.csv, Tp and Gt folders, or a JsonDataset file)"
    "\n\n"
    "nclf train --out runs/first --resume   (go on where it stopped)\n\n"
    "torchrun --nproc-per-node 4 -m nclforensics train --dataset casia --steps 20000   (four GPUs)"
)

# Without a default of its own: "auto" that was given wins over the device of --config or of the run that is resumed.
OwnDeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--device", help="auto (default: a GPU if there is one), cpu, cuda or cuda:N.", metavar="NAME"),
]


def train(
    ctx: typer.Context,
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="forge (default), a benchmark's name (casia means CASIA v2), NAME:PATH, or a path.",
            metavar="NAME|PATH",
        ),
    ] = None,
    data_root: DataRootOption = None,
    allow_missing: AllowMissingOption = False,
    tampered_only: Annotated[
        bool, typer.Option("--tampered-only", help="Train on a data set's tampered images alone.")
    ] = False,
    photos: Annotated[Path | None, typer.Option("--photos", help="Folder of pristine photos for the forge.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/ncl.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; options given here win over it.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Wall-clock budget.", min=0)] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Number of steps; a repeatable run.", min=0)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Samples a step, of all GPUs.", min=1)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seeds weights, samples and mining.", min=0)] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that prepare samples.", min=0)] = None,
    device: OwnDeviceOption = None,
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="bf16 is faster where the processor has it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out from its checkpoint.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a network from scratch, without pre-trained weights, and calibrate it on held-out authentic photos.

    The run folder gets checkpoints, config.toml, history.jsonl, TensorBoard logs, curves.png, samples.png and model/,
    which `nclf scan --weights RUN` uses.
    """
    from nclforensics.pipelines.train import run_training  # noqa: PLC0415 - torch loads only when needed

    given = {
        "dataset": dataset,
        "allow_missing": allow_missing or None,
        "tampered_only": tampered_only or None,
        "photos": None if photos is None else str(photos),
        "out": None if out is None else str(out),
        "minutes": minutes,
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "workers": workers,
        "device": device,
        "precision": None if precision is None else precision.value,
    }
    settings = _located(_settings(config, given, resume=resume), data_root)
    command = shlex.join(ctx.obj or ["nclf", *sys.argv[1:]])
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one speaks for all
    quiet = quiet or not first
    stop = StopRequest("Stopping after this step; once more stops at once.")
    with stop, _Bar(settings, quiet=quiet) as bar:
        summary = run_training(
            settings, resume=resume, command=command, report=bar.show, note=bar.note, should_stop=stop
        )
    print_note(_in_words(summary), quiet=quiet)
    if first:
        print_result(printable(str(summary.folder / "model")))


def _in_words(summary: TrainingSummary) -> str:
    """Return how the run ended, with the default threshold of the model and what is known about it."""
    state, calibration = summary.state, summary.calibration
    told = (
        f"{state.step} steps in {state.seconds / 60:.1f} minutes; best validation score {state.best_score:.3f} "
        f"at step {state.best_step}. Weights sha256 {summary.sha256[:12]}."
    )
    table = zip(calibration.false_positive_rates, calibration.thresholds, strict=True)
    rates = [rate for rate, threshold in table if threshold == summary.threshold]
    if not rates:
        return f"{told} Threshold {summary.threshold:g}, not calibrated: too few authentic photos were held out."
    known = f"at most {min(rates):.0%} of {calibration.sample} showed a region"
    return f"{told} Threshold {summary.threshold:.4f}: {known}."


def _settings(config: Path | None, given: dict[str, Any], *, resume: bool) -> RunConfig:
    """Return file and options as one configuration; a resumed run starts from its own stored one.

    A budget given for a resumed run replaces the run's own, which may be used up: of minutes by one of steps, too.
    """
    settings = load_config(config) if config else RunConfig()
    stored = Path(given["out"] or settings.train.out) / "config.toml"
    if resume and config is None and stored.is_file():
        settings = load_config(stored)
    changed = {key: value for key, value in given.items() if value is not None}
    if resume and bool(changed.get("steps")) != bool(changed.get("minutes")):
        changed = {"steps": 0, "minutes": 0.0} | changed
    return replace(settings, train=replace(settings.train, **changed))


def _located(settings: RunConfig, data_root: Path | None) -> RunConfig:
    """Spell out where a benchmark lies, so that the stored configuration says what was trained on."""
    if settings.train.dataset == "forge":
        return settings
    from nclforensics.data.sets import located  # noqa: PLC0415 - keeps `nclf --help` quick

    return replace(
        settings, train=replace(settings.train, dataset=located(settings.train.dataset, data_root=data_root))
    )


class _Bar:
    """A progress bar over steps or minutes on stderr; silent if that is no terminal, but validations are still said."""

    def __init__(self, settings: RunConfig, *, quiet: bool) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

        self.quiet = quiet
        self.in_steps = settings.train.steps > 0
        total = settings.train.steps if self.in_steps else settings.train.minutes
        form = "{l_bar}{bar}| {n:.1f}/{total:.1f} {unit}{postfix}"
        disable = True if quiet else None
        self.bar = tqdm(
            total=total, unit="steps" if self.in_steps else "min", bar_format=form, file=sys.stderr, disable=disable
        )
        self.write: Callable[..., None] = self.bar.write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def note(self, message: str) -> None:
        """Print something about the data, above the bar."""
        if not self.quiet:
            self.write(printable(message), file=sys.stderr)

    def show(self, row: dict[str, float]) -> None:
        """Move the bar, or print the line of a validation."""
        if row["validation"]:
            line = f"step {row['step']:.0f} ({row['minutes']:.1f} min): f1@fpr5 {row['f1_at_fpr']:.3f}, "
            line += f"f1@0.5 {row['f1']:.3f}, pixel AUC {row['pixel_auc']:.3f}, loss {row['loss']:.4f}"
            if not self.quiet:
                self.write(line, file=sys.stderr)
            return
        done = row["step"] if self.in_steps else row["minutes"]
        # A last step may end long after the budget, and tqdm has no total, which the form needs, of a bar beyond it.
        self.bar.n = min(done, self.bar.total)
        self.bar.set_postfix_str(f"loss {row['total']:.3f}, {row['samples_per_second']:.1f} samples/s")
