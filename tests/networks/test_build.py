"""Every configuration gives a network of the promised size, from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

from nclforensics.config import EncoderName, ModelConfig, ResidualName
from nclforensics.networks.build import ENCODERS, build_network


def _count(config: ModelConfig) -> int:
    with torch.device("meta"):  # shapes without memory
        network = build_network(config)
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_encoder_name_has_a_builder() -> None:
    """The names that a configuration accepts are those that can be built."""
    assert set(ENCODERS) == set(get_args(EncoderName))


def test_lite_has_at_most_3_million_parameters() -> None:
    """The default model is made for CPUs."""
    assert _count(ModelConfig()) <= 3_000_000


def test_base_takes_at_most_60_megabytes() -> None:
    """With the streams and the head, in float32."""
    config = ModelConfig(
        encoder="base", mosaic=True, quantization=True, image_head=True, branch_channels=128, decoder_channels=96
    )
    assert 4 * _count(config) <= 60_000_000


@torch.inference_mode()
def test_base_is_a_wider_lite() -> None:
    """It has the same stride and reach, and takes an image of any size."""
    lite, base = (build_network(config).eval() for config in (ModelConfig(), ModelConfig(encoder="base")))
    assert (base.stride, base.halo) == (lite.stride, lite.halo)
    assert base(torch.rand(1, 3, 20, 17)).logits.shape == (1, 1, 20, 17)


def test_resnet101_has_the_papers_size() -> None:
    """About 59 million parameters."""
    assert _count(ModelConfig(encoder="resnet101")) == pytest.approx(59e6, rel=0.03)


@pytest.mark.parametrize("error_levels", [False, True])
@pytest.mark.parametrize("residual", get_args(ResidualName))
@torch.inference_mode()
def test_every_residual_choice_works(residual: ResidualName, *, error_levels: bool) -> None:
    """Each combination of input channels gives a network that runs."""
    config = ModelConfig(residual=residual, error_levels=error_levels, embedding_dim=16, branch_channels=24)
    output = build_network(config).eval()(torch.rand(1, 3, 20, 17))
    assert output.logits.shape == (1, 1, 20, 17)
    assert output.features_minus.shape == (1, 24, 3, 3)
    assert output.embeddings_minus.shape == (1, 16, 3, 3)


@pytest.mark.parametrize("encoder", ["lite", "resnet50"])
def test_the_mosaic_stream_is_small(encoder: EncoderName) -> None:
    """It adds parameters, fewer than 30,000 to the default encoder; without it there is none of it."""
    plain, joined = (_count(ModelConfig(encoder=encoder, mosaic=mosaic)) for mosaic in (False, True))
    assert joined > plain
    assert encoder != "lite" or joined - plain < 30_000
    assert build_network(ModelConfig()).mosaic is None


@torch.inference_mode()
def test_a_stream_given_later_starts_where_the_network_was() -> None:
    """With the weights of a network without it, and its own at random, it changes no score."""
    plain, joined = (build_network(ModelConfig(mosaic=mosaic)).eval() for mosaic in (False, True))
    assert joined.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    images = torch.rand(1, 3, 40, 56)
    assert torch.equal(joined(images).logits, plain(images).logits)


@torch.inference_mode()
def test_resnet_runs() -> None:
    """The atrous ResNet localizes, at stride 16, with error levels joined to its second stage."""
    network = build_network(ModelConfig(encoder="resnet50")).eval()
    output = network(torch.rand(1, 3, 64, 64))
    assert network.stride == 16
    assert output.logits.shape == (1, 1, 64, 64)
    assert output.embeddings_plus.shape == (1, 64, 4, 4)
    assert output.logits.isfinite().all()


def test_a_seed_decides_the_weights() -> None:
    """The same seed gives the same network to the bit."""
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_network(ModelConfig(residual="bayar")).state_dict())
    first, second = states
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_weights_are_pre_trained() -> None:
    """Every convolution and linear kernel comes from the random generator: another seed, other values."""
    torch.manual_seed(1)
    first = build_network(ModelConfig(residual="bayar"))
    torch.manual_seed(2)
    second = build_network(ModelConfig(residual="bayar"))
    kernels = {name for name, module in first.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert kernels
    for name in kernels:
        a, b = first.get_parameter(f"{name}.weight"), second.get_parameter(f"{name}.weight")
        assert not torch.equal(a, b), name


@pytest.mark.parametrize("field", ["branch_channels", "embedding_dim", "decoder_channels"])
def test_widths_are_those_of_the_configuration(field: str) -> None:
    """Each width of the configuration changes the number of parameters."""
    assert _count(replace(ModelConfig(), **{field: 32})) < _count(ModelConfig())  # type: ignore[arg-type]


def test_the_image_head_has_the_configured_constants() -> None:
    """A model's threshold was calibrated with its own bias and leak: no other may come in their place."""
    head = build_network(ModelConfig(pixel_bias=-1.5, image_leak=0.3)).image_head
    assert head is not None
    assert (head.bias, head.leak) == (-1.5, 0.3)
