"""Blown-out highlights of an image that is much larger than those of the calibration: what is left out of it.

They hold no trace, and in large photos they are large enough to move the statistics of the whole image, by which all
the rest then differs (docs/decision.md, "Large photos").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from nclforensics.data.quality.surfaces import highlights
from nclforensics.results import is_much_larger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.networks.pivot import PivotNetwork, PivotOutput

NO_EVIDENCE: Final = -8.0  # logit of what is left out


def cells_left_out(image: NDArray[np.uint8], network: PivotNetwork) -> torch.Tensor | None:
    """Return the network's cells that are left out of an image, RGB (H, W, 3) uint8; None if none is, or all would be.

    Returns:
        Bool (ceil(H / stride), ceil(W / stride)), on the CPU.
    """
    if not is_much_larger(image[..., 0].size, network.calibrated_pixels):
        return None
    blown = highlights(image, network.stride)
    return torch.from_numpy(blown) if blown.any() and not blown.all() else None


def without_evidence(output: PivotOutput, cells: torch.Tensor, side: int) -> PivotOutput:
    """Return an output in which some cells, bool (h, w), of `side` pixels show no evidence."""
    height, width = output.logits.shape[-2:]
    pixels = cells.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]
    return output._replace(
        logits=output.logits.masked_fill(pixels, NO_EVIDENCE),
        cell_logits=output.cell_logits.masked_fill(cells, NO_EVIDENCE),
    )
