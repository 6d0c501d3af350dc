"""Context modules: each cell of the deep map learns what the rest of the image looks like.

Both split into `statistics` (plain means over cells, so that an image cut into tiles can average its tiles' values) and
`forward`, which uses them. That is what makes tiled and untiled results agree.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.networks.encoder import conv_bn


class ImageDeviation(nn.Module):
    """Adds to each cell how far it lies from the image's own mean, in standard deviations per channel.

    A spliced region has another origin than the photo around it: what counts is the difference from the host's
    statistics, not the absolute value of a trace.

    Args:
        channels: Channels of the encoder's deep map, and of the result.
        stream: Channels of another stream, such as the mosaic's, that come after them. They get a context of their
            own and are joined with weights that start at zero: a network that is given the stream later starts where
            it was.
    """

    reach = 0  # cells beside it that a cell of the result depends on

    def __init__(self, channels: int, stream: int = 0) -> None:
        super().__init__()
        self.out_channels = channels
        self.stream = ImageDeviation(stream) if stream else None
        self.join = nn.Conv2d(stream, channels, 1, bias=False) if stream else None
        if self.join is not None:
            nn.init.zeros_(self.join.weight)
        self.mix = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.image = nn.Linear(2 * channels, channels)

    def statistics(self, deep: Tensor) -> Tensor:
        """Return means and mean squares over the cells, shape (B, 2C), float32, of deep (B, C, h, w)."""
        values = deep.float()
        return torch.cat([values.mean((2, 3)), values.square().mean((2, 3))], dim=1)

    def forward(self, deep: Tensor, statistics: Tensor) -> Tensor:
        """Map deep (B, C, h, w) and the image's statistics (B, 2C) to (B, out_channels, h, w)."""
        mean, square = statistics.chunk(2, dim=1)
        joined: Tensor | float = 0.0
        if self.stream is not None and self.join is not None:
            own = self.out_channels
            others = torch.cat([mean[:, own:], square[:, own:]], dim=1)
            joined = self.join(self.stream(deep[:, own:], others))
            deep, mean, square = deep[:, :own], mean[:, :own], square[:, :own]
        deviation = (square - mean.square()).clamp(min=0).add(1e-4).sqrt()
        centred = (deep.float() - mean[..., None, None]) / deviation[..., None, None]
        centred = centred.clamp(-6, 6).to(deep.dtype)
        image = self.image(torch.cat([mean, deviation], dim=1))[..., None, None]
        return F.relu(self.mix(torch.cat([deep, centred], dim=1)) + image + joined)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with an image-level branch (Chen et al., ECCV 2018, rates 6, 12, 18)."""

    reach = 18

    def __init__(self, channels: int, out_channels: int = 256) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.cells = nn.ModuleList([conv_bn(channels, out_channels, 1)])
        self.cells.extend(conv_bn(channels, out_channels, 3, dilation=rate) for rate in (6, 12, 18))
        self.image = nn.Linear(channels, out_channels)
        self.project = conv_bn(5 * out_channels, out_channels, 1)

    def statistics(self, deep: Tensor) -> Tensor:
        """Return means over the cells, shape (B, C), float32, of deep (B, C, h, w)."""
        return deep.float().mean((2, 3))

    def forward(self, deep: Tensor, statistics: Tensor) -> Tensor:
        """Map deep (B, C, h, w) and the image's statistics (B, C) to (B, out_channels, h, w)."""
        parts = [F.relu(cell(deep)) for cell in self.cells]
        image = F.relu(self.image(statistics.to(deep.dtype)))[..., None, None]
        parts.append(image.expand_as(parts[0]).to(parts[0].dtype))
        return F.relu(self.project(torch.cat(parts, dim=1)))
