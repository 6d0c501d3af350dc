"""The image head: one logit that says whether an image holds any tampered region, and what it does to the score map.

The head looks at what the map itself points to: the branch features inside and outside the suspected region. All it
reads are plain sums over cells, so an image cut into tiles can add up its tiles' sums.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

GAIN: Final = 2.0  # what a pixel's logit is multiplied by before it is held against the image's
LARGEST_LOGIT: Final = 10.0  # of a cell, so that its exponential stays far from overflow
SMALLEST_SUM: Final = 1e-3  # of weights: an image without any suspected cell has no inside


class ImageHead(nn.Module):
    """Image-level evidence from the features inside and outside the suspected region.

    Args:
        channels: Channels of all branch features together, 2F.
        hidden: Width of the hidden layer.
        bias: Added to a pixel's logit before it is held against the image's.
        leak: How much of what lies above the image's logit is kept, so that the order of pixels is.
    """

    def __init__(self, channels: int, hidden: int = 64, *, bias: float, leak: float) -> None:
        super().__init__()
        self.channels = channels
        self.bias = bias
        self.leak = leak
        self.score = nn.Sequential(nn.Linear(4 * channels + 3, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1))

    def sums(self, features: Tensor, cell_logits: Tensor) -> Tensor:
        """Return what the head reads of some cells, as sums over them that add up over tiles.

        Args:
            features: Features of both branches, shape (B, 2F, h, w).
            cell_logits: Mean pixel logit of each cell, shape (B, 1, h, w). They only weight: no gradient goes back.

        Returns:
            Shape (B, 4 + 6F), float32: numbers and weights, then sums of the features.
        """
        values = features.float().flatten(2)
        logits = cell_logits.detach().float().flatten(2).clamp(max=LARGEST_LOGIT)
        # Squared, so that the many cells with a low score do not outweigh the few with a high one.
        inside = logits.sigmoid().square()
        parts = [torch.ones_like(logits).sum(2), inside.sum(2), logits.sigmoid().sum(2), logits.exp().sum(2)]
        parts += [(values * inside).sum(2), values.sum(2), values.square().sum(2)]
        return torch.cat(parts, dim=1)

    def forward(self, sums: Tensor) -> Tensor:
        """Return the image's logit, shape (B,), float32, from the sums over all its cells, shape (B, 4 + 6F)."""
        count, inside, score, exponential = torch.split(sums[:, :4], 1, dim=1)
        weighted, total, squares = torch.split(sums[:, 4:], self.channels, dim=1)
        outside = (count - inside).clamp(min=SMALLEST_SUM)
        mean, rest = weighted / inside.clamp(min=SMALLEST_SUM), (total - weighted) / outside
        deviation = (squares / count - (total / count).square()).clamp(min=0).add(1e-4).sqrt()
        shares = torch.cat([inside, score, exponential], dim=1) / count
        read = torch.cat([mean, rest, (mean - rest) / deviation, deviation, shares.clamp(min=1e-6).log()], dim=1)
        with torch.autocast(read.device.type, enabled=False):  # one number an image: nothing to gain from 8 bits
            logit: Tensor = self.score(read)
        return logit.squeeze(1)

    def combine(self, logits: Tensor, image_logit: Tensor) -> Tensor:
        """Return the logits of the score map: the pixels', held down by the image's.

        With `l` the pixel logit times `GAIN`, plus `bias`, and D the image's logit, the result is l where l <= D, and
        D + leak (l - D) above. A threshold then asks for both: evidence in the image, and a pixel that belongs to it.
        The order of an image's pixels does not change.

        Args:
            logits: Shape (B, 1, H, W).
            image_logit: Shape (B,).
        """
        pixels, image = GAIN * logits + self.bias, image_logit.view(-1, 1, 1, 1)
        return torch.minimum(pixels, image + self.leak * (pixels - image))
