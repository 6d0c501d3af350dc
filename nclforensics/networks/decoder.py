"""The fused decoder: both branches and the encoder's fine map become one logit per pixel."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.networks.encoder import conv_bn

PRIOR_TAMPERED = 0.05  # starting guess of the decoder; a guess of one half would first spend steps on unlearning it


class FusedDecoder(nn.Module):
    """Upsamples both branches' features to the skip map's grid, fuses them there and upsamples to pixels.

    Args:
        branch_channels: Channels F of each branch.
        skip_channels: Channels of the encoder's skip map.
        channels: Channels inside.
        reduced_skip: Channels the skip map is reduced to first; 0 takes it as it is.
        depth: 3 x 3 convolutions after the fusion.
    """

    def __init__(
        self, branch_channels: int, skip_channels: int, *, channels: int, reduced_skip: int = 0, depth: int = 1
    ) -> None:
        super().__init__()
        self.reduce = conv_bn(skip_channels, reduced_skip, 1) if reduced_skip else None
        inputs = 2 * branch_channels + (reduced_skip or skip_channels)
        widths = [inputs] + [channels] * depth
        self.fuse = nn.Sequential(
            *(nn.Sequential(conv_bn(a, b, 3), nn.ReLU(inplace=True)) for a, b in pairwise(widths))
        )
        self.logit = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.constant_(self.logit.bias, math.log(PRIOR_TAMPERED / (1 - PRIOR_TAMPERED)))  # type: ignore[arg-type]

    def forward(self, plus: Tensor, minus: Tensor, skip: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits, shape (B, 1, *size), float32, from branch features (B, F, h, w) and skip (B, Cs, hs, ws)."""
        if self.reduce is not None:
            skip = F.relu(self.reduce(skip))
        branches = torch.cat([plus, minus], dim=1)
        joined = torch.cat([F.interpolate(branches, size=skip.shape[-2:], mode="bilinear"), skip], dim=1)
        logits = self.logit(self.fuse(joined))
        return F.interpolate(logits.float(), size=size, mode="bilinear")
