"""A training run end to end: repeatable, resumable, failing early and clearly."""

from __future__ import annotations

import json
import math
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from nclforensics.config import ForgeConfig, ModelConfig, RunConfig, TrainConfig, dump_config, load_config
from nclforensics.errors import (
    ConfigError,
    MissingInputError,
    OutputError,
    TrainingDivergedError,
    UsageError,
    WeightsMismatchError,
)
from nclforensics.networks.weights import load_model
from nclforensics.pipelines import trainer as trainer_module
from nclforensics.pipelines.checkpoint import (
    BEST_FILE,
    CHECKPOINT_FILE,
    RunState,
    check_space,
    read_tensors,
    write_tensors,
)
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.trainer import _ema_update, learning_rate
from nclforensics.pipelines.training_step import TrainingStep
from nclforensics.pipelines.validation import Validation
from tests.factories import make_image, make_mask
from tests.photo_folders import make_photo_folder

if TYPE_CHECKING:
    from nclforensics.losses.combined import LossTerms
    from nclforensics.pipelines.training_log import TrainingLog

STEPS = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 24 small photos."""
    return make_photo_folder(tmp_path_factory.mktemp("photos"), count=24)


@pytest.fixture(autouse=True)
def _log_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "LOG_EVERY", 1)


def make_run_config(photos: Path, out: Path, **train: Any) -> RunConfig:  # noqa: ANN401 - any training setting
    """Return the configuration of a run of a few small steps."""
    settings: dict[str, Any] = {
        "photos": str(photos),
        "out": str(out),
        "steps": STEPS,
        "batch_size": 2,
        "workers": 0,
        "warmup_steps": 2,
        "validate_every": 3,
        "validation_share": 0.3,
        "validation_samples": 6,
        "device": "cpu",
    }
    return RunConfig(
        model=ModelConfig(branch_channels=8, embedding_dim=8, decoder_channels=8),
        forge=ForgeConfig(size=64),
        train=TrainConfig(**(settings | train)),
    )


def run_and_record(config: RunConfig, *, resume: bool = False, stop_after: int = 0) -> list[tuple[float, float]]:
    """Train and return (step, total loss) of every step."""
    rows: list[tuple[float, float]] = []

    def record(row: dict[str, float]) -> None:
        if not row["validation"]:
            rows.append((row["step"], row["total"]))

    run_training(config, resume=resume, report=record, should_stop=lambda: len(rows) == stop_after > 0)
    return rows


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, list[tuple[float, float]]]:
    """Return the configuration of a finished run and its losses."""
    config = make_run_config(photos, tmp_path_factory.mktemp("runs") / "finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "LOG_EVERY", 1)
        return config, run_and_record(config)


def test_same_seed_gives_the_same_losses_to_the_last_digit(
    photos: Path, tmp_path: Path, finished: tuple[RunConfig, list[tuple[float, float]]]
) -> None:
    """Two runs from scratch with one seed agree exactly, whatever the number of workers."""
    _, expected = finished

    actual = run_and_record(make_run_config(photos, tmp_path / "again", workers=2))

    assert expected == actual


def test_another_seed_gives_other_losses(
    photos: Path, tmp_path: Path, finished: tuple[RunConfig, list[tuple[float, float]]]
) -> None:
    """The seed reaches weights and samples."""
    _, losses = finished

    others = run_and_record(make_run_config(photos, tmp_path / "other", seed=1))

    assert all(a != b for (_, a), (_, b) in zip(losses, others, strict=True))


def test_interrupted_and_resumed_equals_uninterrupted(
    photos: Path, tmp_path: Path, finished: tuple[RunConfig, list[tuple[float, float]]]
) -> None:
    """Stopped after step 2 and resumed, a run has the same losses, weights and history as one that never stopped."""
    whole, expected = finished
    config = make_run_config(photos, tmp_path / "run", workers=1)
    with pytest.raises(KeyboardInterrupt):
        run_and_record(config, stop_after=2)

    resumed = run_and_record(config, resume=True)

    assert expected[2:] == resumed
    one, other = (read_tensors(_folder(c) / CHECKPOINT_FILE) for c in (whole, config))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    histories = [_history(c) for c in (whole, config)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("rescued", [False, True], ids=["killed", "rescued"])
def test_a_run_that_ends_while_it_validates_equals_one_that_never_stopped(
    photos: Path, tmp_path: Path, finished: tuple[RunConfig, list[tuple[float, float]]], *, rescued: bool
) -> None:
    """Resumed, it validates that step, and writes its row once: also where a checkpoint of the step was left."""
    whole, _ = finished
    config = make_run_config(photos, tmp_path / "run", checkpoint_minutes=1e-6)
    validate = trainer_module.Trainer._validate

    def dying(trainer: trainer_module.Trainer, log: TrainingLog | None) -> None:
        if rescued:
            before = trainer.state
            validate(trainer, log)
            trainer.state = before
            trainer._save()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_validate", dying)
        with pytest.raises(KeyboardInterrupt):
            run_training(config)

    run_training(config, resume=True)

    one, other = (read_tensors(_folder(c) / BEST_FILE) for c in (whole, config))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert _history(whole) == _history(config)


def test_rows_after_the_checkpoint_are_written_once(photos: Path, tmp_path: Path) -> None:
    """A run that was killed after its last checkpoint repeats the steps since then, and logs them once."""
    config = make_run_config(photos, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_and_record(config, stop_after=2)
    with (tmp_path / "run" / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "train", "step": 3}) + "\n" + '{"kind": "tr')

    run_and_record(config, resume=True)

    steps = [row["step"] for row in _history(config) if row["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_finished_model_is_calibrated_and_usable(finished: tuple[RunConfig, list[tuple[float, float]]]) -> None:
    """The run folder holds a model that loads, with its data and budget in the manifest, and localizes."""
    config, _ = finished
    model = load_model(_folder(config))

    score_map = Localizer(model.network, device=torch.device("cpu")).localize(np.zeros((40, 56, 3), np.uint8))

    assert score_map.shape == (40, 56)
    assert model.calibration.authentic > 0
    training = model.manifest["training"]
    assert (training["steps"], training["samples"]) == (STEPS, 2 * STEPS)
    assert training["photos"] + training["photos_held_out"] == 24
    assert load_config(_folder(config) / "config.toml") == config


@pytest.mark.parametrize("name", ["curves.png", "samples.png"])
def test_pictures_are_drawn(finished: tuple[RunConfig, list[tuple[float, float]]], name: str) -> None:
    """Curves and sample predictions are PNG files with something on them."""
    picture = cv2.imread(str(_folder(finished[0]) / name))

    assert picture is not None
    assert picture.std() > 10


@pytest.mark.parametrize(("values", "best_step"), [([0.5, 0.9, 0.1], 4), ([0.5, 0.9, 0.9], 6)], ids=["best", "tie"])
def test_best_validation_is_the_one_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], best_step: int
) -> None:
    """The model comes from the validation with the highest score, not from the last one; of two, from the later."""
    scores = iter(values)
    original = Validation.__call__

    def scripted(self: Validation, network: nn.Module) -> Any:  # noqa: ANN401 - ValidationScores
        value = next(scores)
        return replace(original(self, network), f1_at_fpr=value, f1=value)

    monkeypatch.setattr(Validation, "__call__", scripted)
    config = make_run_config(photos, tmp_path / "run", validate_every=2)

    summary = run_training(config)

    assert (summary.state.best_step, summary.state.best_score) == (best_step, 0.9)
    best = read_tensors(tmp_path / "run" / "best.safetensors")
    shipped = load_model(tmp_path / "run").network.state_dict()
    assert all(torch.equal(best[name], shipped[name]) for name in best)


def test_training_learns_an_obvious_trace(tmp_path: Path) -> None:
    """Noisy rectangles in smooth images are found after a few dozen steps: the loss falls by a third."""
    rows = ["image,mask,authentic"]
    for number in range(12):
        image, box = make_image(64, 64, seed=number).astype(float), (8 + 2 * number, 16, 40 + number, 48)
        mask = make_mask(64, 64, box=box)
        image[mask] += np.random.default_rng(number).normal(0, 40, (int(mask.sum()), 3))
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(tmp_path / f"{number}_mask.png"), mask.astype(np.uint8) * 255)
        rows.append(f"{number}.png,{number}_mask.png,0")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = make_run_config(tmp_path, tmp_path / "run", steps=60, batch_size=4, validate_every=0, learning_rate=0.01)
    config = replace(config, train=replace(config.train, dataset=str(tmp_path), validation_share=0.2))

    losses = [loss for _, loss in run_and_record(config)]

    assert np.mean(losses[-5:]) < 0.67 * np.mean(losses[:5])


def test_loss_that_is_not_finite_stops_the_run(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the step and the terms in its message, and the last good checkpoint is still there."""
    original = TrainingStep.__call__

    def poisoned(self: TrainingStep, network: nn.Module, batch: Any, step: int) -> LossTerms:  # noqa: ANN401
        terms = original(self, network, batch, step)
        return replace(terms, total=terms.total * math.nan) if step == 3 else terms

    monkeypatch.setattr(TrainingStep, "__call__", poisoned)
    config = make_run_config(photos, tmp_path / "run", checkpoint_minutes=0.0)

    with pytest.raises(TrainingDivergedError, match=r"at step 4 .*last good checkpoint"):
        run_training(config)

    tensors = read_tensors(tmp_path / "run" / CHECKPOINT_FILE)
    assert all(value.isfinite().all() for value in tensors.values())


def test_gradient_that_is_not_finite_stops_before_the_weights_are_touched(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss with a NaN gradient is found before the optimizer uses it."""
    original = TrainingStep.__call__

    def poisoned(self: TrainingStep, network: nn.Module, batch: Any, step: int) -> LossTerms:  # noqa: ANN401
        terms = original(self, network, batch, step)
        if step == 2:
            weight = next(network.parameters())
            weight.register_hook(  # type: ignore[no-untyped-call]  # torch ships no type for it
                lambda gradient: gradient * math.nan
            )
        return terms

    monkeypatch.setattr(TrainingStep, "__call__", poisoned)

    with pytest.raises(TrainingDivergedError, match="at step 3"):
        run_training(make_run_config(photos, tmp_path / "run"))


def test_gradient_is_clipped(photos: Path, tmp_path: Path) -> None:
    """After one step Adam's first moment is a tenth of the gradient: no longer than `clip_norm` says."""
    config = make_run_config(photos, tmp_path / "run", steps=1, clip_norm=0.01)
    run_training(config)
    tensors = read_tensors(_folder(config) / CHECKPOINT_FILE)
    moments = [value.flatten() for name, value in tensors.items() if name.endswith(".exp_avg")]
    assert float(torch.cat(moments).norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_run_folder_of_another_run_is_refused(finished: tuple[RunConfig, list[tuple[float, float]]]) -> None:
    """Without --resume nothing is overwritten."""
    with pytest.raises(OutputError, match="--resume"):
        run_training(finished[0])


def test_resuming_with_other_settings_is_refused(finished: tuple[RunConfig, list[tuple[float, float]]]) -> None:
    """Only the budget and the machine may change."""
    config = finished[0]
    changed = replace(config, train=replace(config.train, learning_rate=0.5))

    with pytest.raises(ConfigError, match="differs"):
        run_training(changed, resume=True)


def test_resuming_nothing_is_refused(photos: Path, tmp_path: Path) -> None:
    """A folder without checkpoint cannot be resumed."""
    with pytest.raises(MissingInputError, match="without --resume"):
        run_training(make_run_config(photos, tmp_path / "none"), resume=True)


def test_damaged_checkpoint_is_refused(tmp_path: Path, finished: tuple[RunConfig, list[tuple[float, float]]]) -> None:
    """A checkpoint cut short is not continued from."""
    config = finished[0]
    shutil.copytree(_folder(config), tmp_path / "run")
    checkpoint = tmp_path / "run" / CHECKPOINT_FILE
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])

    with pytest.raises(WeightsMismatchError, match="damaged"):
        run_training(replace(config, train=replace(config.train, out=str(tmp_path / "run"), steps=8)), resume=True)


def test_budget_is_required(photos: Path, tmp_path: Path) -> None:
    """Neither steps nor minutes: a usage error."""
    with pytest.raises(UsageError, match="--minutes or --steps"):
        run_training(make_run_config(photos, tmp_path / "run", steps=0))


def test_forge_without_photos_is_a_usage_error(tmp_path: Path) -> None:
    """The forge names the option that is missing."""
    config = make_run_config(tmp_path, tmp_path / "run")

    with pytest.raises(UsageError, match="--photos"):
        run_training(replace(config, train=replace(config.train, photos="")))


def test_empty_photo_folder_is_found_at_once(tmp_path: Path) -> None:
    """A folder without photos ends the run before any step."""
    (tmp_path / "photos").mkdir()

    with pytest.raises(MissingInputError, match="found none"):
        run_training(make_run_config(tmp_path / "photos", tmp_path / "run"))


def test_full_disk_is_found_before_the_first_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose checkpoints would not fit does not start."""
    usage = namedtuple("usage", ["total", "used", "free"])  # noqa: PYI024 - as shutil returns it
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1, 1, 1000))

    with pytest.raises(OutputError, match="Free some space"):
        run_training(make_run_config(photos, tmp_path / "run"))


def test_half_a_checkpoint_of_a_killed_run_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be gigabytes, and every kill would leave another one; everything else in the folder stays."""
    kept = {CHECKPOINT_FILE, BEST_FILE, "curves.png", ".notes.tmp"}
    for name in kept:
        (tmp_path / name).write_bytes(b"")

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        for name in (CHECKPOINT_FILE, BEST_FILE):
            with pytest.raises(SystemExit):
                write_tensors(tmp_path / name, {"w": torch.ones(9)}, {})
    assert len(list(tmp_path.iterdir())) == len(kept) + 2

    check_space(tmp_path, nn.Linear(1, 1))

    assert {path.name for path in tmp_path.iterdir()} == kept


def test_minutes_end_a_run(photos: Path, tmp_path: Path) -> None:
    """A run limited by minutes ends by the clock."""
    summary = run_training(make_run_config(photos, tmp_path / "run", steps=0, minutes=0.02, validate_every=0))

    assert summary.state.seconds >= 1.2
    assert summary.state.step >= 1


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    """Linear warm-up, cosine over the steps, half of the peak in the middle."""
    config = RunConfig(train=TrainConfig(steps=1000, warmup_steps=100, learning_rate=1.0))

    rates = [learning_rate(config, RunState(step=step)) for step in (0, 49, 500, 1000)]

    assert rates == pytest.approx([0.01, 0.5 * 0.5 * (1 + math.cos(math.pi * 0.049)), 0.5, 0.0])


def test_average_follows_the_formula() -> None:
    """The mean moves by 1 - min(decay, (1 + n) / (10 + n)) towards the value."""
    mean, value = torch.tensor([1.0]), torch.tensor([2.0])

    _ema_update(0.9)([mean], [value], 1)
    early = mean.item()
    _ema_update(0.9)([mean], [value], 10_000)

    assert (early, mean.item()) == pytest.approx((1 + 9 / 11, early + 0.1 * (2 - early)))


def test_configuration_of_a_run_is_stored(finished: tuple[RunConfig, list[tuple[float, float]]]) -> None:
    """config.toml is the whole resolved configuration."""
    config = finished[0]

    assert dump_config(config) == (_folder(config) / "config.toml").read_text(encoding="utf-8")


def _folder(config: RunConfig) -> Path:
    from pathlib import Path  # noqa: PLC0415 - at run time only here

    return Path(config.train.out)


def _history(config: RunConfig) -> list[dict[str, Any]]:
    """Return the rows without what the clock decides."""
    rows = [json.loads(line) for line in (_folder(config) / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if k not in ("minutes", "samples_per_second")} for row in rows]
