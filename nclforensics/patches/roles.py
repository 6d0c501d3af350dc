"""From a ground-truth mask to the role of each patch.

With r the share of tampered pixels in a patch: authentic if r = 0, tampered if r = 1, contour if 0 < r < 1, and ignored
if the patch touches padding or a "do not score" zone. Authentic and tampered exclude each other; contour patches
contain both and are exclusive to neither (Zhou et al., ICCV 2023).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from nclforensics.patches.grid import count_pixels

AUTHENTIC: Final = 0
TAMPERED: Final = 1
CONTOUR: Final = 2
IGNORED: Final = -1


def assign_roles(masks: Tensor, stride: int, *, valid: Tensor | None = None) -> Tensor:
    """Return the role of every patch, shape (B, h, w), int64, on the masks' device.

    Args:
        masks: Ground truth, shape (B, H, W), bool, True = tampered.
        stride: Side of a patch in pixels; h = ceil(H / stride), w = ceil(W / stride).
        valid: Shape (B, H, W), bool, False = do not score; None: every pixel of the image counts.

    >>> masks = torch.zeros(1, 8, 24, dtype=torch.bool)
    >>> masks[..., 12:] = True
    >>> assign_roles(masks, 8).tolist()
    [[[0, 2, 1]]]
    """
    counts = count_pixels(masks, stride, valid=valid)
    whole = float(stride * stride)
    roles = torch.full(counts.tampered.shape, CONTOUR, dtype=torch.int64, device=masks.device)
    roles[counts.tampered == 0] = AUTHENTIC
    roles[counts.tampered == whole] = TAMPERED
    roles[counts.valid < whole] = IGNORED
    return roles
