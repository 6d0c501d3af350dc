"""The training loop: schedule, averaged weights, validation and checkpoints."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from nclforensics.errors import ConfigError, TrainingDivergedError
from nclforensics.losses.ranks import RankLostError, naming_lost_ranks
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
from nclforensics.pipelines.compiled import TOLERANCE, gradient_difference
from nclforensics.pipelines.synchronized_norm import synchronize_norms
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
    from nclforensics.pipelines.ranks import TrainingRanks

# What may differ between a run's [model] and that of the model it starts from: parts that may be added or left out, and
# settings that no weight depends on.
MAY_DIFFER: Final = (
    *("mosaic", "quantization", "image_head"),
    *("copy_matcher", "block_grid", "pixel_bias", "image_leak", "low_quality", "low_quality_shift"),
)
LOG_EVERY: Final = 20  # steps; regular checkpoints fall on these


class Trainer:
    """The loop. `run` steps until the budget is used up; everything else is called by it.

    All ranks run it alike; the first one alone logs, validates and writes.
    """

    def __init__(
        self,
        config: RunConfig,
        sources: TrainingSources,
        *,
        ranks: TrainingRanks,
        resume: bool = False,
        report: Report = lambda _row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config = config
        self.sources = sources
        self.report = report
        self.should_stop = should_stop
        self.folder = Path(config.train.out)
        self.state = RunState()
        self.ranks = ranks
        self.accelerator = ranks.accelerator
        self.device = ranks.device
        # A checkpoint holds all weights: the model that a resumed run once started from may be gone.
        network = build_network(config.model) if resume else initial_network(config)
        ranks.on_first(lambda: check_space(self.folder, network))
        self.stride = network.stride
        optimizer = torch.optim.AdamW(
            _parameter_groups(network, config.train.weight_decay), lr=config.train.learning_rate
        )
        network = network.to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, not in the stub
        self.average = AveragedModel(network, multi_avg_fn=_ema_update(config.train.ema_decay), use_buffers=True)
        self.average.eval()
        self.network, self.optimizer = self.accelerator.prepare(synchronize_norms(network, ranks), optimizer)
        self.forward = self.network  # until the compiled one is seen to do the same
        self.step = TrainingStep(config, stride=self.stride, device=self.device, ranks=ranks)
        self.own_batch_size = config.train.batch_size // ranks.count
        # Only the first rank validates: the others need not draw and keep the samples.
        self.validation = Validation(
            sources.validation,
            count=config.train.validation_samples if ranks.first else 1,
            batch_size=self.own_batch_size,
            device=self.device,
        )
        if resume:
            self._resume()

    def _resume(self) -> None:
        """Continue from the checkpoint of the run folder."""
        self.state = load_checkpoint(self.folder, network=self._plain, average=self.average, optimizer=self._adamw)
        self.ranks.on_first(lambda: truncate_history(self.folder / HISTORY_FILE, self.state))

    def run(self) -> bool:
        """Train until the budget is used up, or `should_stop` says so: then a checkpoint is left.

        Returns:
            Whether the budget is used up; False if it was stopped.

        Raises:
            TrainingDivergedError: If the loss or its gradient is not finite; the last checkpoint is kept.
            OutputError: If a checkpoint cannot be written.
            RankLostError: If another rank ended or hangs; the first rank has left a checkpoint of the last whole step.
        """
        self.state = replace(self.state, sessions=self.state.sessions + 1)
        with ExitStack() as stack:
            log = None
            if self.ranks.first:
                board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.state.step + 1)
                stack.callback(board.close)
                history = stack.enter_context((self.folder / HISTORY_FILE).open("a", encoding="utf-8"))
                log = TrainingLog(history, board, self.report, self.state.unlogged)
            try:
                return self._loop(log)
            except RankLostError as error:
                raise RankLostError(f"{error} {self._rescued()}") from error

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

    def _loop(self, log: TrainingLog | None) -> bool:
        source = self._batches()
        if self.config.train.compile:
            first = next(source)
            self.forward, source = self._compiled(first), chain([first], source)
        saved = started = time.monotonic()
        base = self.state.seconds
        if self._validates(log):  # the checkpoint may have been written just before the validation of its step
            self.ranks.on_first(self._save)
        while not _budget_used(self.config, self.state):
            terms, rate = self._one_step(next(source))
            now = time.monotonic()
            self.state = replace(self.state, step=self.state.step + 1, seconds=base + now - started)
            due = log is not None and self._note(log, terms, rate) and now - saved >= self._seconds_between_checkpoints
            if self._validates(log):
                # A run killed now must not go on beside best weights of which its checkpoint knows nothing.
                self.ranks.on_first(self._save)
            elif due:
                self._save()
                saved = now
            # Only between two steps are weights and counters of one and the same step.
            stop, seconds = self.ranks.agree(stop=self.should_stop(), seconds=self.state.seconds)
            self.state = replace(self.state, seconds=seconds)
            if stop:
                self.ranks.on_first(self._save)
                return False
        if self.state.validated != self.state.step:
            self._validate(log)
        self.ranks.on_first(self._save)
        return True

    def _note(self, log: TrainingLog, terms: LossTerms, rate: float) -> bool:
        """Take a step into the log, and return whether a line was written: then a checkpoint may be, too."""
        log.add(terms)
        due = self.state.step % LOG_EVERY == 0 or _budget_used(self.config, self.state)
        if due:
            log.write(self.state, learning_rate=rate, samples_per_step=self.config.train.batch_size)
        self.state = replace(self.state, unlogged=log.unlogged)
        return due

    @property
    def _seconds_between_checkpoints(self) -> float:
        return 60 * self.config.train.checkpoint_minutes

    def _batches(self) -> Iterator[TrainingSample]:
        return batches(
            self.sources.train,
            batch_size=self.own_batch_size,
            first=self.state.step * self.config.train.batch_size,
            workers=self.config.train.workers,
            rank=self.ranks.index,
            ranks=self.ranks.count,
        )

    def _compiled(self, batch: TrainingSample) -> nn.Module:
        """Return the compiled network, or the plain one, with a warning, if they do not learn the same of a batch."""
        compiled = cast("nn.Module", torch.compile(self.network))
        self.network.train()
        difference = gradient_difference(
            self._plain,
            lambda: self.step(self.network, batch, self.state.step).total,
            lambda: self.step(compiled, batch, self.state.step).total,
        )
        if difference <= TOLERANCE:
            return compiled
        warnings.warn(
            f"compile = true: the compiled network's gradient differs from the plain one's by {difference:.3g} of its "
            f"length (at most {TOLERANCE} is rounding). Training goes on without the compiler; the results are right, "
            'the steps take longer. Another release of torch, or precision = "fp32", may help.',
            stacklevel=2,
        )
        return cast("nn.Module", self.network)

    def _one_step(self, batch: TrainingSample) -> tuple[LossTerms, float]:
        train = self.config.train
        rate = learning_rate(self.config, self.state)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with self._whole_or_not_at_all():
            terms = self.step(self.forward, batch, self.state.step)
            if not math.isfinite(float(terms.total.detach())):
                raise TrainingDivergedError(self._diverged(terms))
            self.optimizer.zero_grad()
            # Every rank has the gradient of the same total through its own images, and DistributedDataParallel takes
            # the mean over ranks where the sum is wanted.
            self.accelerator.backward(terms.total * self.ranks.count)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        if not math.isfinite(float(norm)):
            raise TrainingDivergedError(self._diverged(terms))
        self.optimizer.step()
        self.average.update_parameters(self._plain)
        return terms, rate

    @contextmanager
    def _whole_or_not_at_all(self) -> Iterator[None]:
        """Undo what a step does to the norms' running means if another rank is lost in its middle."""
        buffers = list(self._plain.buffers()) if self.ranks.count > 1 else []
        before = [buffer.clone() for buffer in buffers]
        try:
            with naming_lost_ranks():
                yield
        except RankLostError:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            raise

    def _diverged(self, terms: LossTerms) -> str:
        values = ", ".join(f"{name} {value:.3g}" for name, value in terms.scalars().items())
        kept = self.folder / CHECKPOINT_FILE
        advice = f"The last good checkpoint is {kept}." if kept.is_file() else "No checkpoint had been written yet."
        return (
            f"The loss or its gradient is not finite at step {self.state.step + 1} ({values}). {advice} "
            "Lower learning_rate or clip_norm, or train in fp32."
        )

    def _validates(self, log: TrainingLog | None) -> bool:
        """Validate where this step is due for it and was not validated yet; return whether it is the best so far."""
        every, step = self.config.train.validate_every, self.state.step
        if not every or not step or step % every or self.state.validated == step:
            return False
        self._validate(log)
        return self.state.best_step == step

    def _validate(self, log: TrainingLog | None) -> None:
        def validated() -> RunState:
            assert log is not None, "the first rank has a log"
            scores = self.validation(self.average.module)
            log.write_scores(self.state, scores.scalars())
            state = replace(self.state, validated=self.state.step)
            if scores.score < state.best_score:  # of equal ones the last: it has learned longer
                return state
            tensors = storable(self.average.module.state_dict())
            write_tensors(self.folder / BEST_FILE, tensors, {"step": str(self.state.step)})
            return replace(state, best_score=scores.score, best_step=state.step)

        self.state = self.ranks.on_first(validated)

    def _rescued(self) -> str:
        """Save the last whole step after another rank was lost, if this is the rank to do it, and say where it is."""
        if not self.ranks.first:
            return "The first process leaves a checkpoint if it can."
        self._save()
        return (
            f"The last whole step, {self.state.step}, is in {self.folder / CHECKPOINT_FILE}: go on with --resume, "
            "with any number of processes that divides the batch."
        )

    def _save(self) -> None:
        save_checkpoint(self.folder, self.state, network=self._plain, average=self.average, optimizer=self._adamw)


def initial_network(config: RunConfig) -> PivotNetwork:
    """Return the network that a run starts with: random weights, or those of the model that `train.initial` names.

    Raises:
        WeightsMissingError, WeightsMismatchError: If there is no such model, or it was changed.
        ConfigError: If the model has another shape than the configuration, or nothing would train a random image head.
    """
    if config.model.low_quality:
        raise ConfigError(
            f"Expected low_quality = 0 in [model], got {config.model.low_quality}: networks are trained one by one, "
            "the second one on pictures that were saved once more, and joined by scripts/join_networks.py."
        )
    network = build_network(config.model)
    model = load_model(config.train.initial) if config.train.initial else None
    if config.model.image_head and not config.losses.image and not (model and model.config.image_head):
        raise ConfigError(
            'Expected "image" above 0 in [losses], got 0: nothing would train the image head, which holds all scores '
            "down. Set image_head = false in [model], or start from a model that has one."
        )
    if model is None:
        return network
    same = replace(model.config, **{name: getattr(config.model, name) for name in MAY_DIFFER})
    if same != config.model:
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
