"""A small untrained model on disk, for tests of everything that needs some model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from nclforensics.config import ModelConfig, RunConfig
from nclforensics.networks.build import build_network
from nclforensics.networks.context import ImageDeviation
from nclforensics.networks.quantization import QuantizationStream
from nclforensics.networks.weights import save_model
from nclforensics.results import Calibration

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.networks.pivot import PivotNetwork

TINY_CONFIG = RunConfig(
    model=ModelConfig(
        branch_channels=8, embedding_dim=8, decoder_channels=8, mosaic=True, quantization=True, pixel_bias=0.0
    )  # with the default bias, an untrained network marks everything
)


def make_network(*, seed: int = 0, streams: bool = True) -> PivotNetwork:
    """Return an untrained network in eval mode whose score maps vary within an image, around 0.05."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(replace(TINY_CONFIG.model, mosaic=False, quantization=False))
        _unsettle(network)
        if streams:
            plain, network = network, build_network(TINY_CONFIG.model)
            _unsettle(network)
            network.load_state_dict(plain.state_dict(), strict=False)
    return network.eval()


def _unsettle(network: nn.Module) -> None:
    """Draw what a fresh network has neutral or zero, so that a mistake in it is visible."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        if isinstance(module, ImageDeviation) and module.join is not None:
            nn.init.normal_(module.join.weight, std=0.1)
        if isinstance(module, QuantizationStream):
            nn.init.normal_(module.join.weight, std=0.1)
        if isinstance(module, nn.Conv2d) and module.out_channels == 1:
            nn.init.normal_(module.weight, std=3.0)


def make_calibration(*, threshold: float = 0.05) -> Calibration:
    """Return a made-up calibration with that default threshold."""
    return Calibration(
        false_positive_rates=(0.01, 0.05),
        thresholds=(0.5, threshold),
        min_region=0.005,
        authentic=100,
        source="made up for tests",
        largest_pixels=1_000_000,
    )


def write_model(folder: Path, *, threshold: float = 0.05, seed: int = 0) -> Path:
    """Write a tiny model and return its folder."""
    save_model(
        folder,
        make_network(seed=seed),
        TINY_CONFIG,
        name="tiny",
        calibration=make_calibration(threshold=threshold),
        training={"source": "none"},
    )
    return folder
