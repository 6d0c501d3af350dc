"""The context modules see the image through plain means, which tiles can share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nclforensics.networks.context import ASPP, ImageDeviation

MODULES = [ImageDeviation(6), ImageDeviation(4, stream=2), ASPP(6, 4)]
every_module = pytest.mark.parametrize("module", MODULES, ids=["deviation", "stream", "aspp"])


@every_module
@pytest.mark.parametrize("cut", [1, 5, 8])
def test_statistics_of_tiles_average_to_those_of_the_image(module: ImageDeviation | ASPP, cut: int) -> None:
    """The mean over tiles, each weighted by its number of cells, is the statistics of the whole."""
    deep = torch.randn(2, 6, 7, 9, dtype=torch.float32)
    left, right = module.statistics(deep[..., :cut]), module.statistics(deep[..., cut:])
    torch.testing.assert_close((left * cut + right * (9 - cut)) / 9, module.statistics(deep))


@every_module
def test_statistics_do_not_mix_images(module: ImageDeviation | ASPP) -> None:
    """Each image of a batch has the statistics it has alone."""
    deep = torch.randn(3, 6, 4, 5)
    alone = torch.cat([module.statistics(image) for image in torch.split(deep, 1)])
    torch.testing.assert_close(module.statistics(deep), alone)


@every_module
def test_statistics_are_float32(module: ImageDeviation | ASPP) -> None:
    """Means of bf16 features are not summed in bf16, where a large image would lose its small cells."""
    deep = torch.full((1, 6, 64, 64), 1.0078125, dtype=torch.bfloat16)
    statistics = module.statistics(deep)
    assert statistics.dtype == torch.float32
    torch.testing.assert_close(statistics[:, :6], torch.full((1, 6), 1.0078125))


@every_module
def test_output_depends_on_the_statistics(module: ImageDeviation | ASPP) -> None:
    """The same cells in another image give another result: of 32 images, for behind a ReLU one pair may both be 0."""
    deep, other = torch.randn(32, 6, 4, 4), torch.randn(32, 6, 4, 4)
    module.eval()
    here, there = module(deep, module.statistics(deep)), module(deep, module.statistics(other))
    assert here.shape == (32, module.out_channels, 4, 4)
    assert not torch.allclose(here, there)


def _standardizing(channels: int) -> ImageDeviation:
    """Return a module whose weights pass on only the deviations."""
    module = ImageDeviation(channels).eval()
    nn.init.zeros_(module.image.weight)
    nn.init.zeros_(module.image.bias)
    conv = module.mix[0]
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight.copy_(torch.cat([torch.zeros(channels, channels), torch.eye(channels)], 1)[..., None, None])
    return module


def test_deviation_is_in_standard_deviations_of_the_image() -> None:
    """A cell 2 standard deviations above its image's mean gives 2; below the mean the ReLU gives 0."""
    deep = torch.randn(2, 3, 16, 16) * 5 + 7
    module = _standardizing(3)
    mean, deviation = deep.mean((2, 3), keepdim=True), deep.std((2, 3), keepdim=True, correction=0)
    expected = ((deep - mean) / deviation).clamp(0, 6)
    torch.testing.assert_close(module(deep, module.statistics(deep)), expected, atol=1e-3, rtol=1e-3)


def test_deviation_is_limited_to_six() -> None:
    """One odd cell in a large even image does not drown everything else."""
    deep = torch.zeros(1, 1, 32, 32)
    deep[..., 0, 0] = 1
    module = _standardizing(1)
    output = module(deep, module.statistics(deep))
    assert output.max().item() == pytest.approx(6, abs=1e-3)


def test_a_constant_map_stays_finite() -> None:
    """Without any deviation nothing is divided by zero, even if rounding makes the variance negative."""
    deep = torch.full((1, 2, 5, 5), 1234.567, requires_grad=True)
    module = _standardizing(2)
    output = module(deep, module.statistics(deep) * torch.tensor([1.0, 1.0, 0.999, 0.999]))
    output.sum().backward()
    assert output.isfinite().all()
    assert deep.grad is not None
    assert deep.grad.isfinite().all()


def test_aspp_sees_at_its_rates() -> None:
    """A cell hears from itself and from cells 6, 12 and 18 away, and from no other cell."""
    module = ASPP(2, 8).eval()
    deep = torch.rand(1, 2, 1, 41, requires_grad=True)
    output = module(deep, torch.zeros(1, 2))
    (gradient,) = torch.autograd.grad(output[..., 20].sum(), deep)
    heard = {abs(int(x) - 20) for x in gradient.abs().sum((0, 1, 2)).nonzero()}
    assert heard == {0, 6, 12, 18}


def test_a_stream_changes_nothing_at_first() -> None:
    """A module that is given a stream later starts from what it was without it, to the bit."""
    joined, plain = ImageDeviation(4, stream=2).eval(), ImageDeviation(4).eval()
    assert joined.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    deep = torch.randn(2, 6, 5, 7)
    own = deep[:, :4]
    assert torch.equal(joined(deep, joined.statistics(deep)), plain(own, plain.statistics(own)))


@torch.inference_mode()
def test_a_stream_joins_by_its_own_deviation() -> None:
    """What is added before the ReLU is the stream's own deviation from its own image, through the join."""
    module = ImageDeviation(4, stream=2).eval()
    assert module.join is not None
    assert module.stream is not None
    nn.init.constant_(module.image.bias, 100.0)  # above the ReLU's bend, so that outputs subtract
    deep = torch.randn(2, 6, 5, 7)
    statistics = module.statistics(deep)
    before = module(deep, statistics)
    nn.init.normal_(module.join.weight)
    added = deep[:, 4:]
    expected = module.join(module.stream(added, module.stream.statistics(added)))
    assert expected.std() > 0.1
    torch.testing.assert_close(module(deep, statistics) - before, expected, atol=1e-4, rtol=1e-4)
