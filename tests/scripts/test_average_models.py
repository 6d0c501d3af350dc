"""The mean of two models is the mean of their weights; what the first lacks is the second's."""

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


def test_what_the_first_lacks_is_the_seconds(pair: tuple[LoadedModel, LoadedModel]) -> None:
    """A stream that only the second has stays as it is; all else is the mean."""
    shape = replace(TINY_CONFIG.model, quantization=False)
    lacking = build_network(shape)
    lacking.load_state_dict(pair[0].network.state_dict(), strict=False)
    before = {name: value.clone() for name, value in pair[1].network.state_dict().items()}
    others = lacking.state_dict()
    mean = averaged(replace(pair[0], network=lacking.eval(), config=shape), pair[1]).state_dict()
    assert {name.split(".")[0] for name in mean.keys() - others.keys()} == {"quantization"}
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (before[name] + others.get(name, before[name])) / 2)
