"""What holds for every test: one thread, seeded generators, and GPU tests reported as skipped where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nclforensics.cli.torch_environment import SETTINGS

os.environ.setdefault("MKL_CBWR", SETTINGS["MKL_CBWR"])  # the commands set it before torch is loaded

import pytest
import torch
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# The tensors are tiny: handing them to more threads takes longer than computing them.
torch.set_num_threads(1)

# A busy machine is no failure, and two runs of the suite try the same examples.
settings.register_profile("nclf", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nclf")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` with a reason where torch sees no CUDA device; `-ra` reports them."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU, torch.cuda.is_available() is False"))


@pytest.fixture(autouse=True)
def _small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scans compute with one thread and decode in this process: starting more would take most of the time."""
    monkeypatch.setattr("nclforensics.pipelines.examination.FEWEST_THREADS", 1)
    monkeypatch.setattr("nclforensics.pipelines.scan_engine.DECODERS", 0)


@pytest.fixture(autouse=True)
def _global_state() -> Iterator[None]:
    """Seed torch before each test, and undo what a training run switches on for the whole process."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    # Not called without need: it imports torch's compiler, which takes seconds.
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
