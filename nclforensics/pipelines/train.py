"""Training from scratch: budget, schedule, averaged weights, validation, checkpoints, and a calibrated model at the end.

A run lives in one folder:

    config.toml               the resolved configuration
    checkpoint.safetensors    everything the next step depends on
    best.safetensors          averaged weights of the best validation
    history.jsonl             one line a logged step and a validation
    tensorboard/              the same for TensorBoard
    curves.png, samples.png   what the training looked like
    model/                    the finished model: `nclf scan --weights RUN`
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from nclforensics.config import RunConfig, dump_config, load_config
from nclforensics.errors import ConfigError, OutputError, TrainingDivergedError, UsageError
from nclforensics.losses.combined import LossTerms
from nclforensics.networks.build import build_network
from nclforensics.networks.pivot import PivotNetwork
from nclforensics.pipelines.checkpoint import (
    BEST_FILE,
    CHECKPOINT_FILE,
    RunState,
    check_space,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.finish import finish_model
from nclforensics.pipelines.seeding import seed_everything
from nclforensics.pipelines.training_data import TrainingSample, TrainingSources, batches, open_sources
from nclforensics.pipelines.training_step import TrainingStep
from nclforensics.pipelines.validation import Validation

LOG_EVERY: Final = 20  # steps; checkpoints fall on these steps, so that a resumed log continues the old one
HISTORY_FILE: Final = "history.jsonl"
CONFIG_FILE: Final = "config.toml"

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """How a run ended.

    Attributes:
        folder: The run folder; `folder / "model"` is the finished model.
        state: Steps, seconds and best validation.
        threshold: The calibrated default threshold of the finished model.
        sha256: Digest of its weights.
    """

    folder: Path
    state: RunState
    threshold: float
    sha256: str


def run_training(
    config: RunConfig, *, resume: bool = False, command: str = "", report: Report = lambda _row: None
) -> TrainingSummary:
    """Train a network and write the finished, calibrated model.

    Args:
        config: The whole configuration; `train.steps` or `train.minutes` must be set.
        resume: Continue the run in `train.out` from its checkpoint; steps or minutes may have been raised.
        command: The command line, for the model's manifest.
        report: Called with every logged row (keys as in history.jsonl).

    Raises:
        UsageError, ConfigError: If the configuration cannot be used or differs from the resumed run's.
        MissingInputError, DatasetError: If the data cannot be used, or there is no checkpoint to resume.
        OutputError: If the run folder holds another run, or the disk is full.
        TrainingDivergedError: If a loss is not finite; the last checkpoint is kept.
    """
    folder = Path(config.train.out)
    _check_budget(config)
    _prepare_folder(folder, config, resume=resume)
    seed_everything(config.train.seed)
    sources = open_sources(config)
    trainer = Trainer(config, sources, report=report)
    if resume:
        trainer.resume()
    trainer.run()
    network, state = trainer.best_network(), trainer.state
    model = finish_model(config, network, sources, trainer.validation, state=state, command=command)
    return TrainingSummary(folder=folder, state=state, threshold=model.threshold, sha256=model.sha256)


class Trainer:
    """The loop. `run` steps until the budget is used up; everything else is called by it."""

    def __init__(self, config: RunConfig, sources: TrainingSources, *, report: Report = lambda _row: None) -> None:
        self.config = config
        self.sources = sources
        self.report = report
        self.folder = Path(config.train.out)
        self.state = RunState()
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        network = build_network(config.model)
        check_space(self.folder, network)
        self.stride = network.stride
        optimizer = torch.optim.AdamW(
            _parameter_groups(network, config.train.weight_decay), lr=config.train.learning_rate
        )
        network = network.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(
            network, multi_avg_fn=_ema_update(config.train.ema_decay), use_buffers=True
        )
        self.average.eval()
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.step = TrainingStep(config, stride=self.stride, device=self.device)
        self.validation = Validation(
            sources.validation,
            count=config.train.validation_samples,
            batch_size=config.train.batch_size,
            device=self.device,
        )

    def resume(self) -> None:
        """Continue from the checkpoint of the run folder."""
        self.state = load_checkpoint(self.folder, network=self._plain, average=self.average, optimizer=self._adamw)
        _truncate_history(self.folder / HISTORY_FILE, self.state.step)

    def run(self) -> None:
        """Train until the budget is used up; an interrupt leaves a checkpoint and is passed on."""
        with ExitStack() as stack:
            board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.state.step + 1)
            stack.callback(board.close)
            history = stack.enter_context((self.folder / HISTORY_FILE).open("a", encoding="utf-8"))
            self.state = replace(self.state, sessions=self.state.sessions + 1)
            try:
                self._loop(_Log(history, board, self.report))
            except KeyboardInterrupt:
                self._save()
                raise

    def best_network(self) -> PivotNetwork:
        """Return the averaged network of the best validation, in eval mode, on the run's device."""
        network = cast("PivotNetwork", self.average.module)
        if (self.folder / BEST_FILE).is_file():
            network.load_state_dict(read_tensors(self.folder / BEST_FILE))
        return network.eval()

    @property
    def _plain(self) -> nn.Module:
        return cast("nn.Module", self.accelerator.unwrap_model(self.network))

    @property
    def _adamw(self) -> torch.optim.Optimizer:
        return cast("torch.optim.Optimizer", self.optimizer.optimizer)

    def _loop(self, log: _Log) -> None:
        train = self.config.train
        source = self._batches()
        saved = started = time.monotonic()
        base = self.state.seconds
        while not _budget_used(self.config, self.state):
            terms, rate = self._one_step(next(source))
            now = time.monotonic()
            self.state = replace(self.state, step=self.state.step + 1, seconds=base + now - started)
            log.add(terms)
            if self.state.step % LOG_EVERY == 0 or _budget_used(self.config, self.state):
                log.write(self.state, learning_rate=rate, samples_per_step=train.batch_size)
                if now - saved >= 60 * train.checkpoint_minutes:
                    self._save()
                    saved = now
            if train.validate_every and self.state.step % train.validate_every == 0:
                self._validate(log)
        if not train.validate_every or self.state.step % train.validate_every:
            self._validate(log)
        self._save()

    def _batches(self) -> Iterator[TrainingSample]:
        ranks, size = self.accelerator.num_processes, self.config.train.batch_size
        return batches(
            self.sources.train,
            batch_size=size,
            first=self.state.step * size * ranks,
            workers=self.config.train.workers,
            rank=self.accelerator.process_index,
            ranks=ranks,
        )

    def _one_step(self, batch: TrainingSample) -> tuple[LossTerms, float]:
        train = self.config.train
        rate = learning_rate(self.config, self.state)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        terms = self.step(self.network, batch, self.state.step)
        if not math.isfinite(float(terms.total.detach())):
            raise TrainingDivergedError(self._diverged(terms))
        self.optimizer.zero_grad()
        self.accelerator.backward(terms.total)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        if not math.isfinite(float(norm)):
            raise TrainingDivergedError(self._diverged(terms))
        self.optimizer.step()
        self.average.update_parameters(cast("nn.Module", self._plain))
        return terms, rate

    def _diverged(self, terms: LossTerms) -> str:
        values = ", ".join(f"{name} {value:.3g}" for name, value in terms.scalars().items())
        kept = self.folder / CHECKPOINT_FILE
        advice = f"The last good checkpoint is {kept}." if kept.is_file() else "No checkpoint had been written yet."
        return (
            f"The loss or its gradient is not finite at step {self.state.step + 1} ({values}). {advice} "
            "Lower learning_rate or clip_norm, or train in fp32."
        )

    def _validate(self, log: _Log) -> None:
        scores = self.validation(self.average.module)
        log.write_scores(self.state, scores.scalars())
        if scores.f1_at_fpr > self.state.best_score:
            self.state = replace(self.state, best_score=scores.f1_at_fpr, best_step=self.state.step)
            tensors = {name: value.detach().cpu().contiguous().clone() for name, value in self._averaged().items()}
            write_tensors(self.folder / BEST_FILE, tensors, {"step": str(self.state.step)})

    def _averaged(self) -> dict[str, Tensor]:
        return cast("dict[str, Tensor]", self.average.module.state_dict())

    def _save(self) -> None:
        save_checkpoint(
            self.folder, self.state, network=self._plain, average=self.average, optimizer=self._adamw
        )


class _Log:
    """Averages loss terms between two logged steps and writes them everywhere."""

    def __init__(self, history: Any, board: SummaryWriter, report: Report) -> None:  # noqa: ANN401 - a text file
        self.history = history
        self.board = board
        self.report = report
        self._sums: dict[str, float] = {}
        self._count = 0
        self._time = time.monotonic()

    def add(self, terms: LossTerms) -> None:
        for name, value in terms.scalars().items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def write(self, state: RunState, *, learning_rate: float, samples_per_step: int) -> None:
        now = time.monotonic()
        row = {name: value / self._count for name, value in self._sums.items()}
        row |= {"learning_rate": learning_rate, "samples_per_second": self._count * samples_per_step / (now - self._time)}
        self._sums, self._count, self._time = {}, 0, now
        self._put("train", state, row)

    def write_scores(self, state: RunState, row: dict[str, float]) -> None:
        self._put("validation", state, row)
        self._time = time.monotonic()  # the validation's own time is no training time

    def _put(self, kind: str, state: RunState, row: dict[str, float]) -> None:
        for name, value in row.items():
            self.board.add_scalar(f"{kind}/{name}", value, state.step)
        row = {"step": state.step, "minutes": round(state.seconds / 60, 3), **row}
        try:
            self.history.write(json.dumps({"kind": kind, **row}) + "\n")
            self.history.flush()
        except OSError as error:
            raise OutputError(f"Cannot write the history of the run: {error}. Free some space and resume.") from error
        self.report({**row, "validation": float(kind == "validation")})


def learning_rate(config: RunConfig, state: RunState) -> float:
    """Return the rate of the next step: linear warm-up, then a cosine to zero over the budget."""
    train = config.train
    if train.steps:
        fraction = state.step / train.steps
    else:
        fraction = state.seconds / (60 * train.minutes)
    warmup = min(1.0, (state.step + 1) / max(1, train.warmup_steps))
    return train.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def _budget_used(config: RunConfig, state: RunState) -> bool:
    train = config.train
    return bool(train.steps and state.step >= train.steps) or bool(train.minutes and state.seconds >= 60 * train.minutes)


def _check_budget(config: RunConfig) -> None:
    train = config.train
    if train.steps <= 0 and train.minutes <= 0:
        raise UsageError("A training needs a budget: give --minutes or --steps.")
    if train.batch_size < 1 or train.validation_samples < 1:
        raise ConfigError(
            f"Expected batch_size and validation_samples of at least 1, got {train.batch_size} "
            f"and {train.validation_samples}."
        )


def _prepare_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Create the run folder and store the configuration, or compare it with the run to be resumed."""
    stored = folder / CONFIG_FILE
    if resume and stored.is_file():
        old = load_config(stored)
        if _without_budget(old) != _without_budget(config):
            raise ConfigError(
                f"The configuration differs from the one of the run in {folder} ({stored}). Resume with the same "
                "settings (only steps, minutes, device, workers and checkpoint_minutes may change), or start a new run."
            )
    elif (folder / CHECKPOINT_FILE).exists() or stored.exists():
        raise OutputError(f"{folder} holds another run. Continue it with --resume, or choose another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write to the run folder {folder}: {error}.") from error


def _without_budget(config: RunConfig) -> RunConfig:
    plain = replace(config.train, steps=0, minutes=0.0, device="auto", workers=0, checkpoint_minutes=0.0, out="")
    return replace(config, train=plain)


def _truncate_history(path: Path, step: int) -> None:
    """Drop the rows after the checkpoint: the resumed run writes them again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def _accelerator(config: RunConfig) -> Accelerator:
    device = select_device(config.train.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # A second run in one process may want another device or precision; accelerate keeps these for the whole process.
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - accelerate offers no public way
    precision = "bf16" if config.train.precision == "bf16" else "no"
    return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay kernels only: norms and biases are left alone."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _ema_update(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return an exponential moving average whose decay grows from 0.1, so that the random start is soon forgotten."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        done = int(count)
        effective = min(decay, (1 + done) / (10 + done))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - effective)
            else:
                mean.copy_(value)

    return update
