"""Layers in strips give what they give at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import nn

from nclforensics.config import ModelConfig
from nclforensics.networks.build import build_network
from nclforensics.networks.encoder import BasicBlock, Bottleneck
from nclforensics.networks.strips import in_strips
from tests.tiny_model import make_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.networks.pivot import Encoder

LAYERS: dict[str, Callable[[], BasicBlock | Bottleneck]] = {
    "plain": lambda: BasicBlock(6, 6),
    "dilated": lambda: BasicBlock(6, 6, dilation=4),
    "strided": lambda: BasicBlock(6, 8, stride=2),
    "bottleneck": lambda: Bottleneck(8, 2, dilation=2),
    "strided bottleneck": lambda: Bottleneck(6, 2, stride=2),
}


def _layer(name: str) -> BasicBlock | Bottleneck:
    torch.manual_seed(3)
    layer = LAYERS[name]()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return layer.eval()


def _cells(name: str, *shape: int) -> torch.Tensor:
    channels = next(_layer(name).parameters()).shape[1]
    return torch.rand(1, channels, *shape).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(90, 24), (24, 90), (36, 20)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
@torch.inference_mode()
def test_strips_give_what_the_layer_gives_at_once(name: str, shape: tuple[int, int]) -> None:
    """Each block of the encoders states how far it reaches; along both axes, with a ragged last strip."""
    layer, cells = _layer(name), _cells(name, *shape)
    expected = layer(cells)
    for consume in (False, True):
        given = in_strips(layer, cells, reach=layer.reach, stride=layer.stride, strip=8, consume=consume)
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(90, 24), (24, 90)], ids=str)
@torch.inference_mode()
def test_layers_get_strips_in_the_layout_of_the_map(shape: tuple[int, int]) -> None:
    """Channels come last in every strip too: a convolution would copy what comes in another layout."""
    seen = []

    def layer(piece: torch.Tensor) -> torch.Tensor:
        seen.append(piece.stride()[1])
        return piece

    in_strips(layer, _cells("plain", *shape), reach=2, strip=8)
    assert len(seen) > 5
    assert set(seen) == {1}


@pytest.mark.parametrize("name", LAYERS)
@torch.inference_mode()
def test_no_block_states_more_reach_than_it_has(name: str) -> None:
    """One stride less shows at the borders of the strips: the test above can fail."""
    layer, cells = _layer(name), _cells(name, 96, 24)
    given = in_strips(layer, cells, reach=layer.reach - layer.stride, stride=layer.stride, strip=8)
    assert (given - layer(cells)).abs().max() > 1e-4


@torch.inference_mode()
def test_an_input_is_kept_unless_it_may_be_consumed() -> None:
    """Without `consume` the input stays; with it, the result lies in its memory where the shapes agree."""
    layer, cells = _layer("plain"), _cells("plain", 60, 20)
    before = cells.clone()
    kept = in_strips(layer, cells, reach=2, strip=8)
    assert torch.equal(cells, before)
    consumed = in_strips(layer, cells, reach=2, strip=8, consume=True)
    assert consumed.data_ptr() == cells.data_ptr()
    torch.testing.assert_close(consumed, kept)


@pytest.mark.parametrize("stride", [8, 16])
@torch.inference_mode()
def test_the_fine_map_reaches_as_far_as_its_encoder_says(stride: int) -> None:
    """A changed pixel reaches the skip map's cells up to `fine_reach` pixels away, and not much less far."""
    torch.manual_seed(0)
    network = make_network() if stride == 8 else build_network(ModelConfig(encoder="resnet50")).eval()
    assert network.residual is not None
    images = torch.rand(1, 3, 256, 16)
    changed = images.clone()
    changed[..., 128, :] = 1 - changed[..., 128, :]
    moved = (network._fine(images) - network._fine(changed)).abs().amax((0, 1, 3)).nonzero().flatten()
    first, last = int(moved[0]), int(moved[-1])
    reach = cast("Encoder", network.encoder).fine_reach
    # The cell that ends `reach` pixels before the changed row may see it, none before that one does.
    assert 128 - reach - 4 < 4 * first + 3 <= 128 - reach + 8
    assert 4 * last <= 128 + reach


def test_uint8_pixels_are_the_floats_they_stand_for() -> None:
    """A scan hands the network bytes, training floats in [0, 1]; padding repeats the edge for both."""
    network = make_network()
    pixels = torch.randint(0, 256, (1, 3, 37, 51), dtype=torch.uint8)
    with torch.inference_mode():
        given, expected = network.encode(pixels), network.encode(pixels.float().div(255))
    assert torch.equal(given.deep, expected.deep)
    assert torch.equal(given.skip, expected.skip)
