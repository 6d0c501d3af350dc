"""The patch grid: cell (i, j) of the deep map is the square of stride x stride pixels below it.

The last row and column of patches may hang over the image's edge; pixels there are padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nclforensics.errors import ShapeError


class PatchCounts(NamedTuple):
    """Pixels per patch, both (B, h, w), float32 holding whole numbers: tampered ones, and those that count at all."""

    tampered: Tensor
    valid: Tensor


def grid_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return the number of patch rows and columns that cover an image.

    >>> grid_size(17, 16, 8)
    (3, 2)
    """
    return -(-height // stride), -(-width // stride)


def count_pixels(masks: Tensor, stride: int, *, valid: Tensor | None = None) -> PatchCounts:
    """Count the tampered and the valid pixels of each patch.

    Args:
        masks: Ground truth, shape (B, H, W), bool, True = tampered.
        stride: Side of a patch in pixels.
        valid: Shape (B, H, W), bool, False = do not score; None: every pixel of the image counts.

    Raises:
        ShapeError: If a shape does not fit.
    """
    if masks.ndim != 3:  # noqa: PLR2004 - (B, H, W)
        raise ShapeError(f"Expected masks (B, H, W), got {tuple(masks.shape)}.")
    if valid is None:
        valid = torch.ones_like(masks)
    if valid.shape != masks.shape:
        raise ShapeError(f"Expected valid pixels of the masks' shape {tuple(masks.shape)}, got {tuple(valid.shape)}.")
    height, width = masks.shape[-2:]
    edges = (0, -width % stride, 0, -height % stride)  # padded pixels are neither tampered nor valid
    planes = F.pad(torch.stack([masks & valid, valid], dim=1).float(), edges)
    # Sums of zeros and ones are exact in float32 up to 2^24 pixels a patch.
    sums = F.avg_pool2d(planes, stride, divisor_override=1)
    return PatchCounts(sums[:, 0], sums[:, 1])
