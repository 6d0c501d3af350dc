"""The mean of several models is the mean of their weights; what one lacks is the mean of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from nclforensics.networks.build import build_network
from nclforensics.networks.weights import LoadedModel, load_model
from scripts.average_models import averaged
from tests.tiny_model import TINY_CONFIG, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def models(tmp_path: Path) -> list[LoadedModel]:
    """Return three tiny models with other weights."""
    return [load_model(write_model(tmp_path / str(seed), seed=seed)) for seed in (1, 2, 3)]


def copied(model: LoadedModel) -> dict[str, Tensor]:
    """Return a model's tensors as they are now."""
    return {name: value.clone() for name, value in model.network.state_dict().items()}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_number_is_the_mean(models: list[LoadedModel], count: int) -> None:
    """Weights and running statistics; counts are the last's."""
    states = [copied(model) for model in models[:count]]
    for name, value in averaged(models[:count]).state_dict().items():
        total = sum((state[name] for state in states), torch.zeros_like(value))
        expected = total / count if value.is_floating_point() else states[-1][name]
        torch.testing.assert_close(value, expected)


def test_what_the_first_lacks_is_the_mean_of_the_others(models: list[LoadedModel]) -> None:
    """A stream that two of three have is the mean of these two; all else is that of three."""
    shape = replace(TINY_CONFIG.model, quantization=False)
    lacking = build_network(shape)
    lacking.load_state_dict(models[0].network.state_dict(), strict=False)
    models[0] = replace(models[0], network=lacking.eval(), config=shape)
    states = [copied(model) for model in models]
    mean = averaged(models).state_dict()
    assert {name.split(".")[0] for name in mean.keys() - states[0].keys()} == {"quantization"}
    for name, value in mean.items():
        if value.is_floating_point():
            having = [state[name] for state in states if name in state]
            torch.testing.assert_close(value, sum(having, torch.zeros_like(value)) / len(having))
