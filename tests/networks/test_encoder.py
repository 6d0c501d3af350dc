"""The encoders keep the grid that the patches rely on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nclforensics.networks.encoder import (
    BASE_WIDTHS,
    LITE_WIDTHS,
    BasicBlock,
    Bottleneck,
    LiteEncoder,
    ResNetEncoder,
    conv_bn,
)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 1), (3, 2), (3, 4)])
def test_conv_bn_keeps_the_size(kernel: int, dilation: int) -> None:
    """Padding is 'same' for every kernel and dilation, and the norm brings the only bias."""
    layer = conv_bn(2, 4, kernel, dilation=dilation)
    assert layer(torch.rand(2, 2, 9, 11)).shape == (2, 4, 9, 11)
    assert set(dict(layer.named_parameters())) == {"0.weight", "1.weight", "1.bias"}


@pytest.mark.parametrize("block", [BasicBlock(4, 4), Bottleneck(16, 4)], ids=["basic", "bottleneck"])
def test_a_block_without_its_convolutions_is_the_identity(block: nn.Module) -> None:
    """Where channels and stride fit, the shortcut passes positive values through."""
    last = block.conv2 if isinstance(block, BasicBlock) else block.conv3
    assert isinstance(last, nn.Sequential)
    nn.init.zeros_(last[1].weight)  # type: ignore[arg-type]
    x = torch.rand(1, 4 if isinstance(block, BasicBlock) else 16, 6, 6)
    torch.testing.assert_close(block.eval()(x), x)


def test_a_strided_basic_block_skips_no_pixel() -> None:
    """The shortcut of stride 2 averages: with the convolutions off, every input pixel still counts."""
    block = BasicBlock(3, 5, stride=2).eval()
    nn.init.zeros_(block.conv2[1].weight)  # type: ignore[arg-type]
    nn.init.ones_(block.conv2[1].bias)  # type: ignore[arg-type]  # keeps the last ReLU open
    x = torch.rand(1, 3, 6, 8, requires_grad=True)
    output = block(x)
    assert output.shape == (1, 5, 3, 4)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert gradient.ne(0).all()


@pytest.mark.parametrize("widths", [LITE_WIDTHS, BASE_WIDTHS])
@pytest.mark.parametrize("blocks", [0, 7])
def test_lite_encoder_has_strides_4_and_8(blocks: int, widths: tuple[int, int, int, int]) -> None:
    """The skip map has one cell per 4 pixels, the deep map one per patch, with or without block features."""
    encoder = LiteEncoder(5, blocks, widths).eval()
    assert (encoder.skip_channels, encoder.deep_channels) == (widths[1], widths[3])
    skip, deep = encoder(torch.rand(2, 5, 40, 56), torch.rand(2, blocks, 5, 7) if blocks else None)
    assert skip.shape == (2, encoder.skip_channels, 10, 14)
    assert deep.shape == (2, encoder.deep_channels, 5, 7)


@pytest.mark.parametrize("encoder", [LiteEncoder(3, 4), ResNetEncoder((1, 1, 1, 1), 3, 4)], ids=["lite", "resnet"])
def test_block_features_reach_the_deep_map(encoder: nn.Module) -> None:
    """A change of one block's features changes that place of the deep map, and not the skip map."""
    images, blocks = torch.rand(1, 3, 64, 64), torch.rand(1, 4, 8, 8)
    changed = blocks.clone()
    changed[..., 4, 4] += 1
    before, after = encoder.eval()(images, blocks), encoder(images, changed)
    centre = 4 * before.deep.shape[-1] // 8
    assert not torch.equal(before.deep[..., centre, centre], after.deep[..., centre, centre])
    assert torch.equal(before.skip, after.skip)


@pytest.mark.parametrize("blocks", [0, 4])
def test_resnet_encoder_keeps_stride_16(blocks: int) -> None:
    """The last stage is dilated instead of strided."""
    encoder = ResNetEncoder((1, 2, 1, 1), 3, blocks).eval()
    skip, deep = encoder(torch.rand(1, 3, 64, 96), torch.rand(1, blocks, 8, 12) if blocks else None)
    assert skip.shape == (1, encoder.skip_channels, 16, 24)
    assert deep.shape == (1, encoder.deep_channels, 4, 6)


def test_resnet_depths_count_bottlenecks() -> None:
    """ResNet-50 has 3 + 4 + 6 + 3 of them; with `meta` nothing is allocated."""
    with torch.device("meta"):
        encoder = ResNetEncoder((3, 4, 6, 3), 3, 0)
    assert [len(stage) for stage in (encoder.stage1, encoder.stage2, encoder.stage3, encoder.stage4)] == [3, 4, 6, 3]
    assert sum(isinstance(module, Bottleneck) for module in encoder.modules()) == 16
