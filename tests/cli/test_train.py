"""`nclf train` as a user meets it: exit codes, messages, and a polite kill."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from nclforensics.cli.app import main
from nclforensics.cli.train import _Bar
from nclforensics.config import RunConfig, TrainConfig, dump_config, load_config
from nclforensics.errors import DatasetError
from nclforensics.networks.weights import load_model
from tests.photo_folders import make_photo_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = """
[model]
branch_channels = 8
embedding_dim = 8
decoder_channels = 8
[forge]
size = 64
[train]
batch_size = 2
workers = 0
validate_every = 0
validation_samples = 4
validation_share = 0.3
warmup_steps = 2
device = "cpu"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a configuration file of a tiny run; photos lie beside it."""
    make_photo_folder(tmp_path / "photos", count=16)
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def train(*arguments: str | Path) -> int:
    """Run the command and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_train_writes_a_model_and_prints_its_folder(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's folder is the one line on stdout; options win over the file."""
    code = train("--config", small, "--photos", tmp_path / "photos", "--out", tmp_path / "run", "--steps", "2")

    assert code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'model'}\n"
    stored = load_config(tmp_path / "run" / "config.toml")
    assert (stored.train.steps, stored.train.batch_size) == (2, 2)


def test_a_model_trained_into_the_working_folder_has_its_name(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every report names the model; "." and ".." say nothing."""
    folder = tmp_path / "street"
    folder.mkdir()
    monkeypatch.chdir(folder)

    assert train("--config", small, "--photos", tmp_path / "photos", "--out", ".", "--steps", "2") == 0
    assert load_model(".").name == "street"


def test_benchmark_is_stored_with_its_place_and_remarks_on_it_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration that is stored says what was trained on, so that --resume needs no --data-root."""
    (tmp_path / "data" / "CASIA 2.0").mkdir(parents=True)
    seen: list[TrainConfig] = []

    def run_training(settings: RunConfig, *, note: Callable[[str], None], **_: object) -> NoReturn:
        seen.append(settings.train)
        note("Very easy.")
        raise DatasetError("Far enough.")

    monkeypatch.setattr("nclforensics.pipelines.train.run_training", run_training)

    code = train("--dataset", "casia", "--data-root", tmp_path / "data", "--allow-missing", "--steps", "1")

    assert (code, "Very easy.\n" in capsys.readouterr().err) == (15, True)
    assert (f"casiav2:{tmp_path / 'data' / 'CASIA 2.0'}", True) == (seen[0].dataset, seen[0].allow_missing)


@pytest.mark.parametrize(
    ("stored", "arguments", "expected"),
    [
        ({"minutes": 100.0, "device": "cuda"}, ["--steps", "500", "--device", "auto"], (500, 0.0, "auto")),
        ({"steps": 10, "device": "cuda"}, ["--minutes", "3"], (0, 3.0, "cuda")),
        ({"steps": 10, "minutes": 3.0}, [], (10, 3.0, "auto")),
        ({"steps": 10}, ["--steps", "20", "--minutes", "5"], (20, 5.0, "auto")),
        ({"minutes": 5.0}, ["--steps", "0"], (0, 5.0, "auto")),
    ],
    ids=["steps for minutes", "minutes for steps", "nothing given", "both given", "no limit given"],
)
def test_what_is_given_wins_over_the_resumed_runs_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[str, Any],
    arguments: list[str],
    expected: tuple[int, float, str],
) -> None:
    """A budget replaces the one that is used up, whatever its kind, and "auto" is a device like any other."""
    (tmp_path / "config.toml").write_text(dump_config(RunConfig(train=TrainConfig(**stored))), encoding="utf-8")
    seen: list[TrainConfig] = []

    def run_training(settings: RunConfig, **_: object) -> NoReturn:
        seen.append(settings.train)
        raise DatasetError("Far enough.")

    monkeypatch.setattr("nclforensics.pipelines.train.run_training", run_training)

    train("--out", tmp_path, "--resume", *arguments)

    assert [(settings.steps, settings.minutes, settings.device) for settings in seen] == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["--photos", "photos"], 2, "--minutes or --steps"),
        (["--steps", "1"], 2, "--photos"),
        (["--steps", "1", "--photos", "nowhere"], 11, "nowhere"),
        (["--steps", "1", "--dataset", "casia"], 15, "CASIA"),
        (["--steps", "1", "--config", "nowhere.toml"], 11, "nowhere.toml"),
        (["--steps", "1", "--photos", "photos", "--device", "cuda:99"], 16, "cuda:99"),
        (["--steps", "1", "--photos", "photos", "--resume"], 11, "without --resume"),
        (["--steps", "1", "--photos", "photos", "--seed", str(2**64)], 2, str(2**63 - 1)),
    ],
    ids=["budget", "photos", "missing folder", "benchmark", "missing config", "device", "nothing to resume", "seed"],
)
def test_train_fails_early_and_clearly(
    arguments: list[str],
    expected: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each fault has its exit code and a message that names it."""
    monkeypatch.chdir(tmp_path)
    make_photo_folder(tmp_path / "photos", count=16)

    code = train(*arguments)

    assert code == expected
    assert message in capsys.readouterr().err


def test_misspelt_setting_names_the_nearest(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in the TOML file is a usage error with a suggestion."""
    small.write_text(SMALL + "batchsize = 4\n", encoding="utf-8")

    code = train("--config", small, "--steps", "1")

    assert code == 2
    assert 'Did you mean "batch_size"?' in capsys.readouterr().err


def test_polite_kill_leaves_a_checkpoint_to_resume(small: Path, tmp_path: Path) -> None:
    """SIGTERM ends a run with 130 after the current step; --resume alone finishes it."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nclforensics", "train", "--out", str(run)]
    start = [*command, "--config", str(small), "--photos", str(tmp_path / "photos"), "--steps", "100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(start, stderr=subprocess.PIPE, env=environment) as process:  # noqa: S603 - our own command
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and not _has_rows(run / "history.jsonl"):
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors.decode()
    assert (run / "checkpoint.safetensors").is_file()

    code = train("--out", run, "--resume", "--steps", "1")  # the budget is used up: only the end is left to do

    assert code == 0
    assert (run / "model" / "manifest.toml").is_file()


def _has_rows(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def test_the_bar_survives_a_run_that_takes_longer_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last step, or a laptop that slept, may end minutes later: no reason to lose the run to its progress bar."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with _Bar(RunConfig(train=TrainConfig(minutes=1.0)), quiet=False) as bar:
        for minutes in (0.5, 3.0):
            bar.show(
                {"validation": 0.0, "step": 1, "minutes": minutes, "total": 1.25, "samples_per_second": 3.0},
            )
    lines = terminal.getvalue().split("\r")
    assert "0.5/1.0 min, loss 1.250, 3.0 samples/s" in "\n".join(lines)
    assert "1.0/1.0 min, loss" in lines[-1]
