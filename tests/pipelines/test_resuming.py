"""What a run folder may hold when a run starts or goes on, and what a resumed run writes into it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.config import ForgeConfig, LossConfig, RunConfig, TrainConfig, load_config
from nclforensics.errors import ConfigError, MissingInputError, OutputError, UsageError
from nclforensics.pipelines import trainer as trainer_module
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.trainer import initial_network
from tests.photo_folders import make_photo_folder
from tests.tiny_model import TINY_CONFIG, write_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small photos."""
    return make_photo_folder(tmp_path_factory.mktemp("photos"), count=12)


def run_config(photos: Path | str, out: Path, **train: Any) -> RunConfig:  # noqa: ANN401 - any training setting
    """Return the configuration of a run of one tiny step."""
    settings: dict[str, Any] = {"photos": str(photos), "out": str(out), "steps": 1, "batch_size": 2, "workers": 0}
    settings |= {"validation_share": 0.3, "validation_samples": 2, "validate_every": 0, "device": "cpu"}
    return replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=TrainConfig(**(settings | train)))


def history(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a run without what the clock decides."""
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if k not in ("minutes", "samples_per_second")} for row in rows]


def test_run_that_failed_before_its_first_checkpoint_is_started_anew(photos: Path, tmp_path: Path) -> None:
    """Its config.toml does not lock the folder, and its rows are not taken for those of the new run."""
    out = tmp_path / "run"
    with pytest.raises(UsageError, match="--photos"):
        run_training(run_config("", out))
    assert (out / "config.toml").is_file()
    (out / "history.jsonl").write_text('{"kind": "train", "step": 40}\n', encoding="utf-8")
    with pytest.raises(MissingInputError, match="without --resume"):
        run_training(run_config(photos, out), resume=True)

    run_training(run_config(photos, out))

    assert [row["step"] for row in history(out)] == [1, 1]
    assert load_config(out / "config.toml").train.photos == str(photos)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("checkpoint.safetensors", "Continue it with --resume"),
        ("best.safetensors", "no checkpoint. Choose another --out"),
        ("model", "no checkpoint. Choose another --out"),
        ("config.toml", "would be lost. Choose another --out"),
    ],
)
def test_folder_with_something_to_lose_is_refused(photos: Path, tmp_path: Path, name: str, message: str) -> None:
    """Weights of a run, or settings that somebody wrote."""
    (tmp_path / name).write_text("# mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match=message):
        run_training(run_config(photos, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_resumed_run_does_without_the_model_it_started_from(photos: Path, tmp_path: Path) -> None:
    """The checkpoint holds all weights."""
    initial = write_model(tmp_path / "initial", seed=5)
    config = run_config(photos, tmp_path / "run", initial=str(initial))
    run_training(config)
    shutil.rmtree(initial)

    summary = run_training(replace(config, train=replace(config.train, steps=2)), resume=True)

    assert summary.state.step == 2


def test_rows_of_a_resumed_run_are_those_of_one_that_never_stopped(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two rows, the next one still is the mean over all its steps."""
    monkeypatch.setattr(trainer_module, "LOG_EVERY", 4)
    whole, stopped = (run_config(photos, tmp_path / name, steps=4) for name in ("whole", "stopped"))
    run_training(whole)
    asked = iter(range(10))
    with pytest.raises(KeyboardInterrupt):
        run_training(stopped, should_stop=lambda: next(asked) == 1)

    run_training(stopped, resume=True)

    assert history(tmp_path / "whole") == history(tmp_path / "stopped")


def test_killed_run_goes_on_from_its_best_validation(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its best weights are those that the checkpoint tells of, long before the next regular checkpoint is due."""
    config = run_config(photos, tmp_path / "run", steps=2, validate_every=1, checkpoint_minutes=999)
    one_step = trainer_module.Trainer._one_step

    def killed_at_the_second(self: trainer_module.Trainer, batch: Any) -> Any:  # noqa: ANN401 - as the method's
        if self.state.step == 1:
            raise SystemExit
        return one_step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_one_step", killed_at_the_second)
        with pytest.raises(SystemExit):
            run_training(config)
    assert (tmp_path / "run" / "best.safetensors").is_file()

    assert run_training(config, resume=True).state.step == 2
    assert [(row["kind"], row["step"]) for row in history(tmp_path / "run")] == [
        *[("validation", 1), ("train", 2), ("validation", 2)]
    ]


def test_resuming_a_finished_run_validates_nothing_again(photos: Path, tmp_path: Path) -> None:
    """There is one row of scores a step."""
    config = run_config(photos, tmp_path)
    run_training(config)
    before = history(tmp_path)

    run_training(config, resume=True)

    assert history(tmp_path) == before


def test_image_head_that_nothing_would_train_is_refused(tmp_path: Path) -> None:
    """With a random head all scores would be held down; a model that has one may be gone on from."""
    config = replace(TINY_CONFIG, losses=LossConfig(image=0.0))
    with pytest.raises(ConfigError, match=r'"image" above 0 in \[losses\].*image_head = false'):
        initial_network(config)
    initial_network(replace(config, model=replace(config.model, image_head=False)))
    initial_network(replace(config, train=TrainConfig(initial=str(write_model(tmp_path / "model")))))
