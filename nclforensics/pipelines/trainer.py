"""The training loop: schedule, averaged weights, validation and checkpoints."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from nclforensics.errors import ConfigError, TrainingDivergedError
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.checkpoint import (
    BEST_FILE,
    CHECKPOINT_FILE,
    RunState,
    check_space,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    storable,
    write_tensors,
)
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.training_data import TrainingSample, TrainingSources, batches
from nclforensics.pipelines.training_log import HISTORY_FILE, Report, TrainingLog, truncate_history
from nclforensics.pipelines.training_step import TrainingStep
from nclforensics.pipelines.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from nclforensics.config import RunConfig
    from nclforensics.losses.combined import LossTerms
    from nclforensics.networks.pivot import PivotNetwork

LOG_EVERY: Final = 20  # steps; checkpoints fall on these steps, so that a resumed log continues the old one


class Trainer:
    """The loop. `run` steps until the budget is used up; everything else is called by it."""

    def __init__(
        self,
        config: RunConfig,
        sources: TrainingSources,
        *,
        report: Report = lambda _row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config = config
        self.sources = sources
        self.report = report
        self.should_stop = should_stop
        self.folder = Path(config.train.out)
        self.state = RunState()
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        network = initial_network(config)
        check_space(self.folder, network)
        self.stride = network.stride
        optimizer = torch.optim.AdamW(
            _parameter_groups(network, config.train.weight_decay), lr=config.train.learning_rate
        )
        network = network.to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, not in the stub
        self.average = AveragedModel(network, multi_avg_fn=_ema_update(config.train.ema_decay), use_buffers=True)
        self.average.eval()
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.forward = torch.compile(self.network) if config.train.compile else self.network
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
        truncate_history(self.folder / HISTORY_FILE, self.state.step)

    def run(self) -> None:
        """Train until the budget is used up, or `should_stop` says so: then a checkpoint is left.

        Raises:
            KeyboardInterrupt: If it was stopped.
            TrainingDivergedError: If the loss or its gradient is not finite; the last checkpoint is kept.
            OutputError: If a checkpoint cannot be written.
        """
        with ExitStack() as stack:
            board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.state.step + 1)
            stack.callback(board.close)
            history = stack.enter_context((self.folder / HISTORY_FILE).open("a", encoding="utf-8"))
            self.state = replace(self.state, sessions=self.state.sessions + 1)
            self._loop(TrainingLog(history, board, self.report))

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

    def _loop(self, log: TrainingLog) -> None:
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
            # Only between two steps are weights and counters of one and the same step.
            if self.should_stop():
                self._save()
                raise KeyboardInterrupt
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
        terms = self.step(self.forward, batch, self.state.step)
        if not math.isfinite(float(terms.total.detach())):
            raise TrainingDivergedError(self._diverged(terms))
        self.optimizer.zero_grad()
        self.accelerator.backward(terms.total)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        if not math.isfinite(float(norm)):
            raise TrainingDivergedError(self._diverged(terms))
        self.optimizer.step()
        self.average.update_parameters(self._plain)
        return terms, rate

    def _diverged(self, terms: LossTerms) -> str:
        values = ", ".join(f"{name} {value:.3g}" for name, value in terms.scalars().items())
        kept = self.folder / CHECKPOINT_FILE
        advice = f"The last good checkpoint is {kept}." if kept.is_file() else "No checkpoint had been written yet."
        return (
            f"The loss or its gradient is not finite at step {self.state.step + 1} ({values}). {advice} "
            "Lower learning_rate or clip_norm, or train in fp32."
        )

    def _validate(self, log: TrainingLog) -> None:
        scores = self.validation(self.average.module)
        log.write_scores(self.state, scores.scalars())
        if scores.score > self.state.best_score:
            self.state = replace(self.state, best_score=scores.score, best_step=self.state.step)
            tensors = storable(self.average.module.state_dict())
            write_tensors(self.folder / BEST_FILE, tensors, {"step": str(self.state.step)})

    def _save(self) -> None:
        save_checkpoint(self.folder, self.state, network=self._plain, average=self.average, optimizer=self._adamw)


def initial_network(config: RunConfig) -> PivotNetwork:
    """Return the network that a run starts with: random weights, or those of the model that `train.initial` names.

    Raises:
        WeightsMissingError, WeightsMismatchError: If there is no such model, or it was changed.
        ConfigError: If the model has another shape than the configuration.
    """
    network = build_network(config.model)
    if not config.train.initial:
        return network
    model = load_model(config.train.initial)
    if replace(model.config, image_head=config.model.image_head) != config.model:
        raise ConfigError(
            f'Expected the [model] table of the configuration to be that of "{config.train.initial}" ({model.config}), '
            f"got {config.model}."
        )
    tensors = network.state_dict()
    tensors.update({name: value for name, value in model.network.state_dict().items() if name in tensors})
    network.load_state_dict(tensors)
    return network


def learning_rate(config: RunConfig, state: RunState) -> float:
    """Return the rate of the next step: linear warm-up, then a cosine to zero over the budget."""
    train = config.train
    fraction = state.step / train.steps if train.steps else state.seconds / (60 * train.minutes)
    warmup = min(1.0, (state.step + 1) / max(1, train.warmup_steps))
    return train.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def _budget_used(config: RunConfig, state: RunState) -> bool:
    train = config.train
    return bool(train.steps and state.step >= train.steps) or bool(
        train.minutes and state.seconds >= 60 * train.minutes
    )


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
