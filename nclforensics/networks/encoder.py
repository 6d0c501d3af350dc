"""The encoders: an image becomes a shallow map with fine edges and a deep map with one cell a patch.

All are trained from scratch. `LiteEncoder` is made for CPUs and native resolution, and with `BASE_WIDTHS` for GPUs;
`ResNetEncoder` is the ResNet-50/101 (He et al., CVPR 2016) with atrous last stage (Chen et al., ECCV 2018), the paper's
shape.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.networks.strips import Runner, at_once


class EncoderFeatures(NamedTuple):
    """What an encoder returns: `skip` (B, Cs, H/4, W/4) and `deep` (B, Cd, H/s, W/s), s the patch stride."""

    skip: Tensor
    deep: Tensor


def conv_bn(inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return convolution and batch norm with 'same' padding and no bias (the norm has one)."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; a strided shortcut averages, so that no pixel is skipped."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.reach = dilation * (1 + stride)  # in cells of the input
        self.conv1 = conv_bn(inputs, outputs, 3, stride=stride, dilation=dilation)
        self.conv2 = conv_bn(outputs, outputs, 3, dilation=dilation)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, conv_bn(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        return F.relu(self.conv2(F.relu(self.conv1(x), inplace=True)) + self.shortcut(x), inplace=True)


LITE_WIDTHS: Final = (32, 48, 128, 160)
BASE_WIDTHS: Final = (80, 120, 304, 400)


class LiteEncoder(nn.Module):
    """A small fully convolutional encoder: stride 8 in all, only the stem's stride of 2 comes before learned filters.

    Args:
        image_channels: Channels at full resolution (RGB and residuals).
        block_channels: Channels that come in at one value per 8 x 8 block (error levels), 0 for none.
        widths: Channels at stride 2, of the skip map, at stride 8, and of the deep map.
    """

    stride = 8
    halo = 192  # receptive radius 170 px at the network's output, rounded up to the 64-pixel alignment
    fine_reach = 22  # of `fine` in pixels, a residual filter of 5 x 5 before it counted in

    def __init__(
        self, image_channels: int, block_channels: int, widths: tuple[int, int, int, int] = LITE_WIDTHS
    ) -> None:
        super().__init__()
        half, self.skip_channels, eighth, self.deep_channels = widths
        self.stem = nn.Sequential(conv_bn(image_channels, half, 5, stride=2), nn.ReLU(inplace=True))
        self.stage2 = BasicBlock(half, half)
        self.stage4 = nn.Sequential(
            BasicBlock(half, self.skip_channels, stride=2), BasicBlock(self.skip_channels, self.skip_channels)
        )
        self.stage8 = nn.Sequential(BasicBlock(self.skip_channels, eighth, stride=2), BasicBlock(eighth, eighth))
        self.block_norm = nn.BatchNorm2d(block_channels) if block_channels else None
        self.stage8_wide = nn.Sequential(
            BasicBlock(eighth + block_channels, self.deep_channels, dilation=2),
            BasicBlock(self.deep_channels, self.deep_channels, dilation=4),
        )

    def fine(self, images: Tensor) -> Tensor:
        """Return the skip map (B, skip_channels, H/4, W/4) of images (B, image_channels, H, W)."""
        cells = self.stem(images)
        del images  # the largest map of all
        skip: Tensor = self.stage4(self.stage2(cells))
        return skip

    @property
    def halving(self) -> BasicBlock:
        """The block that takes the skip map to stride 8."""
        return cast("BasicBlock", self.stage8[0])

    def deep(self, halved: Tensor, blocks: Tensor | None, run: Runner = at_once) -> Tensor:
        """Return the deep map (B, deep_channels, H/8, W/8) of what `halving` gives and of block features."""
        second = cast("BasicBlock", self.stage8[1])
        deep = run(second, halved, reach=second.reach, consume=True)
        del halved
        if self.block_norm is not None and blocks is not None:
            deep = torch.cat([deep, self.block_norm(blocks).to(deep.dtype)], dim=1)
        for block in cast("list[BasicBlock]", list(self.stage8_wide)):
            deep = run(block, deep, reach=block.reach, consume=True)
        return deep

    def forward(self, images: Tensor, blocks: Tensor | None) -> EncoderFeatures:
        """Encode images (B, image_channels, H, W) and block features (B, block_channels, H/8, W/8)."""
        skip = self.fine(images)
        return EncoderFeatures(skip, self.deep(self.halving(skip), blocks))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (strided or dilated), 1 x 1 convolutions with a shortcut; four times the width comes out."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.reach = dilation  # in cells of the input
        outputs = width * self.expansion
        self.conv1 = conv_bn(inputs, width, 1)
        self.conv2 = conv_bn(width, width, 3, stride=stride, dilation=dilation)
        self.conv3 = conv_bn(width, outputs, 1)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = conv_bn(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 4 * width, H/stride, W/stride)."""
        y = F.relu(self.conv1(x), inplace=True)
        y = F.relu(self.conv2(y), inplace=True)
        return F.relu(self.conv3(y) + self.shortcut(x), inplace=True)


class ResNetEncoder(nn.Module):
    """ResNet with an atrous last stage, so that the deep map keeps stride 16.

    Args:
        depths: Blocks of the four stages: (3, 4, 6, 3) for ResNet-50, (3, 4, 23, 3) for ResNet-101.
        image_channels: Channels at full resolution (RGB and residuals).
        block_channels: Channels at one value per 8 x 8 block (joined to stage 2's output), 0 for none.
    """

    stride = 16
    skip_channels = 256
    deep_channels = 2048
    halo = 512  # the true receptive field is larger: tiles of this encoder agree only approximately
    fine_reach = 20  # of `fine` in pixels, a residual filter of 5 x 5 before it counted in

    def __init__(self, depths: tuple[int, int, int, int], image_channels: int, block_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(image_channels, 64, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stage1 = _resnet_stage(64, 64, depths[0])
        self.stage2 = _resnet_stage(256, 128, depths[1], stride=2)
        self.block_join = conv_bn(512 + block_channels, 512, 1) if block_channels else None
        self.stage3 = _resnet_stage(512, 256, depths[2], stride=2)
        self.stage4 = _resnet_stage(1024, 512, depths[3], dilation=2)

    def forward(self, images: Tensor, blocks: Tensor | None) -> EncoderFeatures:
        """Encode images (B, image_channels, H, W) and block features (B, block_channels, H/8, W/8)."""
        skip = self.fine(images)
        return EncoderFeatures(skip, self.deep(self.halving(skip), blocks))

    def fine(self, images: Tensor) -> Tensor:
        """Return the skip map (B, 256, H/4, W/4) of images (B, image_channels, H, W)."""
        skip: Tensor = self.stage1(self.stem(images))
        return skip

    @property
    def halving(self) -> Bottleneck:
        """The block that takes the skip map to (B, 512, H/8, W/8)."""
        return cast("Bottleneck", self.stage2[0])

    def deep(self, halved: Tensor, blocks: Tensor | None, run: Runner = at_once) -> Tensor:
        """Return the deep map (B, 2048, H/16, W/16) of what `halving` gives and block features (B, ..., H/8, W/8)."""
        deep = _run_blocks(list(self.stage2)[1:], halved, run)
        del halved
        if self.block_join is not None and blocks is not None:
            deep = F.relu(self.block_join(torch.cat([deep, blocks.to(deep.dtype)], dim=1)), inplace=True)
        return _run_blocks([*self.stage3, *self.stage4], deep, run)


def _run_blocks(blocks: list[nn.Module], cells: Tensor, run: Runner) -> Tensor:
    for block in cast("list[Bottleneck]", blocks):
        cells = run(block, cells, reach=block.reach, stride=block.stride, consume=True)
    return cells


def _resnet_stage(inputs: int, width: int, depth: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    blocks = [Bottleneck(inputs, width, stride=stride, dilation=dilation)]
    blocks += [Bottleneck(4 * width, width, dilation=dilation) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
