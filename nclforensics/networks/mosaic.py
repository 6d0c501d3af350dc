"""Traces of the colour filter array: where a photo's pixels were measured and where a camera interpolated them.

A camera measures one colour a pixel, in a 2 x 2 mosaic (Bayer), and computes the others from neighbours, so
prediction errors differ in strength between the four places of the mosaic (Popescu & Farid, IEEE TSP 2005; Ferrara et
al., IEEE TIFS 2012). What is pasted from another photo, resized or blurred lacks that rhythm or has it elsewhere. Only
images that were never compressed much still show it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.networks.encoder import conv_bn
from nclforensics.networks.residual import BLOCK, require_whole_blocks

PLACES: Final = 4  # of the 2 x 2 mosaic
FLOOR: Final = 0.05  # squared grey levels, about the error of rounding: flat and saturated places have no variance


class MosaicTraces(nn.Module):
    """Log strength of the prediction error at the four places of the mosaic, for each colour and 8 x 8 cell.

    The prediction is the mean of the four neighbours, which is what bilinear interpolation of the missing green gives.
    Channels: 12 log mean squares less their mean over the places (colour by colour, places in reading order), the
    three means (the noise level), and the strength of the green quincunx whichever its place is.
    """

    out_channels = 3 * PLACES + 3 + 1
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        cross = torch.tensor([[0.0, -0.25, 0.0], [-0.25, 1.0, -0.25], [0.0, -0.25, 0.0]]) * 255
        self.register_buffer("kernel", cross.repeat(3, 1, 1, 1), persistent=False)  # (3, 1, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return features, shape (B, 16, H / 8, W / 8), float32, of images (B, 3, H, W) in [0, 1]; H, W multiples of 8.

        Raises:
            ShapeError: If H or W is no multiple of 8.
        """
        require_whole_blocks(images)
        padded = F.pad(images.float(), (1, 1, 1, 1), mode="reflect")
        squares = F.conv2d(padded, self.kernel, groups=3).square_()
        levels = F.avg_pool2d(F.pixel_unshuffle(squares, 2), BLOCK // 2).add(FLOOR).log()  # (B, 12, H / 8, W / 8)
        by_place = levels.view(len(levels), 3, PLACES, *levels.shape[-2:])
        noise = by_place.mean(2)
        relative = (by_place - noise.unsqueeze(2)).flatten(1, 2)
        green = by_place[:, 1]
        quincunx = (green[:, 0] + green[:, 3] - green[:, 1] - green[:, 2]).abs().unsqueeze(1) / 2
        return torch.cat([relative, noise, quincunx], dim=1)


class MosaicStream(nn.Module):
    """`MosaicTraces` and two small convolutions that gather them over neighbouring cells.

    A cell holds 16 pixels of each place, too few to tell a weak rhythm from texture.
    """

    out_channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.traces = MosaicTraces()
        self.gather = nn.Sequential(
            nn.BatchNorm2d(MosaicTraces.out_channels),
            conv_bn(MosaicTraces.out_channels, self.out_channels, 3),
            nn.ReLU(inplace=True),
            conv_bn(self.out_channels, self.out_channels, 3, dilation=2),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return features, shape (B, 32, H / 8, W / 8), of images (B, 3, H, W) in [0, 1]; H, W multiples of 8."""
        features: Tensor = self.gather(self.traces(images))
        return features
