"""The script for machines that are lent by the minute: each call goes on, and the weights come home in pieces."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import torch

from nclforensics.config import ForgeConfig, TrainConfig, dump_config, load_config
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import load_model
from tests.photo_folders import make_photo_folder
from tests.tiny_model import TINY_CONFIG

SCRIPT: Final = Path(__file__).parents[2] / "scripts" / "train_base.sh"
MORE_CALLS: Final = 75
NO_GPU: Final = 16


def call(photos: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(  # noqa: S603 - our own script
        ["bash", str(SCRIPT), str(photos), str(folder)],  # noqa: S607 - as users call it
        env={**os.environ, "PYTHON": sys.executable, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_shipped_configuration_is_a_model_of_at_most_60_megabytes() -> None:
    """It can be read, and has all streams."""
    config = load_config(SCRIPT.with_suffix(".toml"))
    network = build_network(config.model)
    assert 4 * sum(parameter.numel() for parameter in network.parameters()) <= 60_000_000
    assert network.mosaic is not None
    assert network.quantization is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_trained(tmp_path: Path) -> None:
    """It says so, and leaves no folder."""
    done = call(tmp_path, tmp_path / "out")
    assert done.returncode == NO_GPU
    assert "nothing was trained" in done.stderr
    assert not (tmp_path / "out").exists()


def test_calls_go_on_until_the_weights_lie_in_pieces(tmp_path: Path) -> None:
    """A run of 0.4 minutes in calls of 0.3, which end in its middle; joined, the pieces are the model's weights."""
    photos, folder = make_photo_folder(tmp_path / "photos", count=12), tmp_path / "out"
    train = TrainConfig(batch_size=2, validation_samples=2, validation_share=0.3, warmup_steps=1, validate_every=0)
    folder.mkdir()
    (folder / "train_base.toml").write_text(
        dump_config(replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=replace(train, out=str(folder / "run"))))
    )
    environment = {"DEVICE": "cpu", "WORKERS": "0", "RUN_MINUTES": "0.4", "CALL_MINUTES": "0.3", "OMP_NUM_THREADS": "1"}
    codes: list[int] = []
    while not codes or (codes[-1] == MORE_CALLS and len(codes) < 12):
        done = call(photos, folder, **environment)
        codes.append(done.returncode)
    assert codes[-1] == 0, done.stderr
    assert codes[:-1] == [MORE_CALLS] * (len(codes) - 1)
    assert len(codes) > 1, "0.4 minutes do not fit into one call of 0.3"
    pieces = sorted((folder / "pieces").glob("weights.*"))
    weights = b"".join(piece.read_bytes() for piece in pieces)
    assert weights == (folder / "run" / "model" / "weights.safetensors").read_bytes()
    assert load_model(folder / "run").manifest["training"]["sessions"] > 1
