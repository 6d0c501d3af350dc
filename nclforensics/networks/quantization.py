"""Traces of quantization: how common the DCT coefficients of each 8 x 8 block are among those of the whole image.

A JPEG leaves the coefficients of a photo on a comb, multiples of its quantization steps; a second one leaves a pattern
of high and low teeth (double quantization: Lin et al., Pattern Recognition 2009). What is pasted from elsewhere, moved
off the grid of blocks or resized does not follow the comb of the photo around it (Ye, Sun & Chang, ICME 2007). So no
step has to be estimated: a coefficient is suspicious where the image's own histogram is low beside its neighbourhood.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.networks.encoder import conv_bn
from nclforensics.networks.residual import BLOCK, LUMA, block_dct, require_whole_blocks

FREQUENCIES: Final = 20  # the first in zigzag order after DC
LARGEST: Final = 64  # magnitude of a coefficient, in grey levels of an orthonormal DCT, from which on all are one
WINDOWS: Final = (3, 12)  # bins on each side that a bin is compared with: within a comb's teeth, and across teeth
RARE: Final = 5e-4  # share of the blocks, added to both sides of the comparison
FRACTIONS: Final = 256  # parts of a block that are counted: integers add up to the same sum in any order


class QuantizationTraces(nn.Module):
    """Magnitudes of the lowest DCT coefficients of the luminance, for each 8 x 8 block from the image's corner on."""

    out_channels = FREQUENCIES
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = torch.tensor(LUMA) * 255
        kernels = block_dct()[_zigzag()[1 : 1 + FREQUENCIES]]  # (K, 1, 8, 8)
        self.register_buffer("kernel", kernels * weights.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return magnitudes in [0, LARGEST], shape (B, K, H / 8, W / 8), float32, of images (B, 3, H, W) in [0, 1].

        Raises:
            ShapeError: If H or W is no multiple of 8.
        """
        require_whole_blocks(images)
        return F.conv2d(images.float(), self.kernel, stride=BLOCK).abs_().clamp_(max=LARGEST)


def histograms(magnitudes: Tensor) -> Tensor:
    """Return the share of the blocks at each whole magnitude, shape (B, K, LARGEST + 1), of (B, K, h, w).

    A magnitude between two whole ones counts for both, the nearer more, so that rounding errors change nothing much.
    """
    values = magnitudes.detach().float().flatten(2)
    lower = values.floor().clamp_(max=LARGEST - 1)
    upper_parts = ((values - lower) * FRACTIONS).round_().long()
    bins = lower.long()
    counts = torch.zeros(*values.shape[:2], LARGEST + 1, dtype=torch.long, device=values.device)
    counts.scatter_add_(2, bins, FRACTIONS - upper_parts).scatter_add_(2, bins + 1, upper_parts)
    return counts.float() / (FRACTIONS * values.shape[2])


def commonness(shares: Tensor, window: int) -> Tensor:
    """Return how common each bin is beside its neighbours, shape (B, K, LARGEST + 1), of histograms of that shape.

    The log of a bin's share over the mean share of the bins around it, less the mean of that over the image's blocks.
    Bins 0 and LARGEST hold what quantization does not show: they get 0 and count for no neighbour.
    """
    inner = shares[..., 1:-1]
    padded = F.pad(inner, (window, window))
    ones = F.pad(torch.ones_like(inner), (window, window))
    around = F.avg_pool1d(padded, 2 * window + 1, 1) / F.avg_pool1d(ones, 2 * window + 1, 1)
    levels = ((inner + RARE) / (around + RARE)).log()
    mean = (inner * levels).sum(2, keepdim=True) / (inner.sum(2, keepdim=True) + RARE)
    return F.pad(levels - mean, (1, 1))


def looked_up(table: Tensor, magnitudes: Tensor) -> Tensor:
    """Return a table's values (B, K, LARGEST + 1) at magnitudes (B, K, h, w), between two bins by their distance."""
    values = magnitudes.float().flatten(2)
    lower = values.floor().clamp_(max=LARGEST - 1)
    bins, part = lower.long(), values - lower
    found = table.gather(2, bins) * (1 - part) + table.gather(2, bins + 1) * part
    return found.view(magnitudes.shape)


class QuantizationStream(nn.Module):
    """How common each block's coefficients are in the image, gathered over neighbouring blocks.

    Splits as the context modules do: `traces` of any part of an image, their histograms over the whole image, which
    are plain means over blocks, and `forward`, which uses both. The result is added to a context's with weights that
    start at zero: a network that is given the stream later starts where it was.

    Args:
        channels: Channels of the result.
        scale: Blocks a cell of the result, along one side.
    """

    width = 48
    reach = 3  # in blocks
    shares = FREQUENCIES * (LARGEST + 1)  # numbers in the statistics of an image

    def __init__(self, channels: int, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.in_channels = FREQUENCIES * scale * scale
        looked_up_channels = len(WINDOWS) * FREQUENCIES
        self.traces = QuantizationTraces()
        self.norm = nn.BatchNorm2d(looked_up_channels)
        self.first = conv_bn(looked_up_channels, self.width, 3)
        self.strength = nn.Linear(looked_up_channels, self.width)
        self.second = conv_bn(self.width, self.width, 3, dilation=2)
        self.join = nn.Conv2d(self.width, channels, 1, bias=False)
        nn.init.zeros_(self.join.weight)

    def packed(self, magnitudes: Tensor) -> Tensor:
        """Return magnitudes (B, K, h, w) as (B, in_channels, h / scale, w / scale): a cell holds its blocks'."""
        return F.pixel_unshuffle(magnitudes, self.scale)

    def statistics(self, packed: Tensor) -> Tensor:
        """Return histograms over the blocks, shape (B, shares), float32, of packed magnitudes."""
        return histograms(F.pixel_shuffle(packed, self.scale)).flatten(1)

    def forward(self, packed: Tensor, statistics: Tensor) -> Tensor:
        """Map packed magnitudes and the image's statistics to (B, channels, h / scale, w / scale)."""
        magnitudes = F.pixel_shuffle(packed, self.scale)
        shares = statistics.view(len(statistics), FREQUENCIES, LARGEST + 1)
        tables = [commonness(shares, window) for window in WINDOWS]
        # How far the image's coefficients lie from even: where nothing was quantized, nothing can stand out.
        strength = torch.cat([(shares * table.square()).sum(2) for table in tables], dim=1).sqrt()
        blocks = self.first(self.norm(torch.cat([looked_up(table, magnitudes) for table in tables], dim=1)))
        blocks = F.relu(blocks + self.strength(strength)[..., None, None])
        blocks = F.relu(self.second(blocks))
        joined: Tensor = self.join(F.avg_pool2d(blocks, self.scale) if self.scale > 1 else blocks)
        return joined


def _zigzag() -> list[int]:
    """Return the 64 frequencies row by row in the order of a JPEG's scan (ITU-T T.81, figure A.6)."""
    places = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
    places.sort(key=lambda place: (sum(place), place[0] if sum(place) % 2 else place[1]))
    return [BLOCK * row + column for row, column in places]
