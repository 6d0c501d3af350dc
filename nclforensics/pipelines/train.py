"""Training from scratch, from a configuration to a calibrated model.

A run lives in one folder:

    config.toml               the resolved configuration
    checkpoint.safetensors    everything the next step depends on
    best.safetensors          averaged weights of the best validation
    history.jsonl             one line a logged step and a validation
    tensorboard/              the same for TensorBoard
    curves.png, samples.png   what the training looked like
    model/                    the finished model: `nclf scan --weights RUN`

Under `torchrun` every process runs this; the run folder and the data must be there for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nclforensics.config import RunConfig, dump_config, load_config
from nclforensics.errors import ConfigError, NclfError, OutputError, UsageError
from nclforensics.pipelines.checkpoint import BEST_FILE, CHECKPOINT_FILE, RunState, find_checkpoint
from nclforensics.pipelines.device import bf16_note
from nclforensics.pipelines.finish import described_initial, finish_model
from nclforensics.pipelines.ranks import TrainingRanks
from nclforensics.pipelines.seeding import seed_everything
from nclforensics.pipelines.trainer import Trainer
from nclforensics.pipelines.training_data import open_sources
from nclforensics.pipelines.training_log import HISTORY_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.pipelines.training_data import TrainingSources
    from nclforensics.pipelines.training_log import Report
    from nclforensics.results import Calibration

CONFIG_FILE: Final = "config.toml"


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """How a run ended.

    Attributes:
        folder: The run folder; `folder / "model"` is the finished model.
        state: Steps, seconds and best validation.
        threshold: The calibrated default threshold of the finished model.
        sha256: Digest of its weights.
        calibration: What was measured about its thresholds.
    """

    folder: Path
    state: RunState
    threshold: float
    sha256: str
    calibration: Calibration


def run_training(
    config: RunConfig,
    *,
    resume: bool = False,
    command: str = "",
    report: Report = lambda _row: None,
    note: Callable[[str], None] = lambda _message: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingSummary:
    """Train a network and write the finished, calibrated model.

    Args:
        config: The whole configuration; `train.steps` or `train.minutes` must be set.
        resume: Continue the run in `train.out` from its checkpoint; steps or minutes may have been raised.
        command: The command line, for the model's manifest.
        report: Called with every logged row (keys as in history.jsonl), in the first process only.
        note: Called with what the user should know about data and device before the first step, in the first process.
        should_stop: Asked after every step; True, in any process, writes a checkpoint and raises KeyboardInterrupt.

    Returns:
        The same in all processes.

    Raises:
        UsageError, ConfigError: If the configuration cannot be used or differs from the resumed run's.
        MissingInputError, DatasetError: If the data cannot be used, or there is no checkpoint to resume.
        DeviceUnavailableError: If the device is not there.
        OutputError: If the run folder holds another run, or the disk is full.
        TrainingDivergedError: If a loss is not finite; the last checkpoint is kept.
        RankLostError: If another process of the training ended or hangs; a checkpoint of the last step is left.
    """
    _check_budget(config)
    ranks = TrainingRanks(config)  # a device that is not there is found before anything is written
    summary = _train(config, ranks, resume=resume, command=command, report=report, note=note, should_stop=should_stop)
    ranks.leave()
    if summary is None:
        raise KeyboardInterrupt
    return summary


def _train(
    config: RunConfig,
    ranks: TrainingRanks,
    *,
    resume: bool,
    command: str,
    report: Report,
    note: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> TrainingSummary | None:
    """Train and finish the model, as `run_training` says; None if it was stopped."""
    folder = Path(config.train.out)
    ranks.on_first(lambda: _prepare_folder(folder, config, resume=resume))
    seed_everything(config.train.seed)
    sources = open_sources(config)
    slow = bf16_note(ranks.device, config.train.precision)
    for message in (*sources.warnings, *([slow] if slow else [])) if ranks.first else ():
        note(message)
    tell = _damage_told(sources, note)

    def reported(row: dict[str, float]) -> None:
        report(row)
        tell()

    trainer = Trainer(config, sources, ranks=ranks, resume=resume, report=reported, should_stop=should_stop)
    if not resume:  # now: when the run is resumed or finished that model may have been replaced
        trainer.state = replace(trainer.state, initial=described_initial(config.train.initial))
    if not trainer.run():
        return None

    def finished() -> TrainingSummary:
        network, state = trainer.best_network(), trainer.state
        validation = trainer.validation
        model = finish_model(config, network, sources, validation, state=state, command=command)
        tell()
        return TrainingSummary(
            folder=folder,
            state=state,
            threshold=model.threshold,
            sha256=model.sha256,
            calibration=model.calibration,
        )

    return ranks.on_first(finished)


def _damage_told(sources: TrainingSources, note: Callable[[str], None]) -> Callable[[], None]:
    """Return what notes the images that were found damaged since it was last called, each once."""
    told: set[Path] = set()

    def tell() -> None:
        for path in sources.damaged():
            if path not in told:
                told.add(path)
                note(f"Left out, and another image taken where one is needed: {path} cannot be read.")

    return tell


def _check_budget(config: RunConfig) -> None:
    train = config.train
    if train.steps <= 0 and train.minutes <= 0:
        raise UsageError("A training needs a budget: give --minutes or --steps.")


def _prepare_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Create the run folder and store the configuration, or compare it with the run to be resumed."""
    stored = folder / CONFIG_FILE
    if resume:
        find_checkpoint(folder)
        _check_same(stored, config)
    else:
        _check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:  # of a run that failed before its first checkpoint
            (folder / HISTORY_FILE).unlink(missing_ok=True)
        stored.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write to the run folder {folder}: {error}.") from error


def _check_same(stored: Path, config: RunConfig) -> None:
    if stored.is_file() and _without_budget(load_config(stored)) != _without_budget(config):
        raise ConfigError(
            f"The configuration differs from the one of the run in {stored.parent} ({stored}). Resume with the same "
            "settings (only the number of processes, steps, minutes, device, workers, rank_timeout and "
            "checkpoint_minutes may change), or start a new run."
        )


def _check_free(folder: Path) -> None:
    """Refuse a folder with weights of a run, or with a config.toml that no run wrote."""
    if (folder / CHECKPOINT_FILE).exists():
        raise OutputError(f"{folder} holds another run. Continue it with --resume, or choose another --out.")
    for name in (BEST_FILE, "model"):
        if (folder / name).exists():
            raise OutputError(f"{folder} holds another run's {name}, and no checkpoint. Choose another --out.")
    stored = folder / CONFIG_FILE
    if stored.exists() and not _is_of_a_run(stored):
        raise OutputError(f"{stored} is not as nclf train writes it: it would be lost. Choose another --out.")


def _is_of_a_run(stored: Path) -> bool:
    try:
        return dump_config(load_config(stored)) == stored.read_text(encoding="utf-8")
    except NclfError:
        return False


def _without_budget(config: RunConfig) -> RunConfig:
    plain = replace(config.train, steps=0, minutes=0.0, device="auto", workers=0, checkpoint_minutes=0.0, out="")
    return replace(config, train=replace(plain, rank_timeout=1.0))
