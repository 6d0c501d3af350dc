"""The mean of two models is the mean of their weights; a stream that one lacks counts as joined with zeros."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from nclforensics.networks.build import build_network
from nclforensics.networks.weights import LoadedModel, load_model
from scripts.average_models import JOINS, averaged
from tests.tiny_model import TINY_CONFIG, write_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[LoadedModel, LoadedModel]:
    """Return two tiny models with other weights."""
    first, second = (load_model(write_model(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    return first, second


def test_every_number_is_the_mean(pair: tuple[LoadedModel, LoadedModel]) -> None:
    """Weights and running statistics; counts are the second's."""
    states = [{name: value.clone() for name, value in model.network.state_dict().items()} for model in pair]
    for name, value in averaged(*pair).state_dict().items():
        expected = (states[0][name] + states[1][name]) / 2 if value.is_floating_point() else states[1][name]
        torch.testing.assert_close(value, expected)


@torch.inference_mode()
def test_a_stream_that_the_first_lacks_counts_half(pair: tuple[LoadedModel, LoadedModel]) -> None:
    """With all else equal, the mean is the network whose stream adds half of what it added."""
    shape = replace(TINY_CONFIG.model, quantization=False)
    lacking, second = build_network(shape), pair[1]
    lacking.load_state_dict(second.network.state_dict(), strict=False)
    before = {name: value.clone() for name, value in second.network.state_dict().items()}
    mean = averaged(replace(second, network=lacking.eval(), config=shape), second).state_dict()
    for name, value in mean.items():
        torch.testing.assert_close(value, before[name] / 2 if name == "quantization.join.weight" else before[name])
    assert JOINS[1] in mean
