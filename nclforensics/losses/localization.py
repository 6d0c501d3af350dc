"""The losses of the score map (binary cross-entropy, Dice, an optional edge term) and of the image head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from nclforensics.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

EDGE_RADIUS = 2
_DICE_SMOOTHING = 1.0


@dataclass(frozen=True, kw_only=True)
class LocalizationTerms:
    """The terms before weighting, scalars; a term of weight 0 is not computed and is 0."""

    bce: Tensor
    dice: Tensor
    edge: Tensor


def localization_loss(
    logits: Tensor, masks: Tensor, *, bce: float, dice: float, edge: float, valid: Tensor | None = None
) -> LocalizationTerms:
    """Return the terms that compare the predicted score maps with the masks.

    bce is the mean over all valid pixels of the batch, of authentic images too: this term teaches them to come out
    empty. dice is the mean over the images that have a valid tampered pixel of 1 - (2 sum p m + 1) / (sum p + sum m
    + 1); on an authentic image Dice would be near 1 and nearly flat for any false alarm, so it leaves them out. edge is
    the cross-entropy over pixels within 2 pixels of the mask's boundary; an authentic image has none.

    Args:
        logits: Shape (B, 1, H, W), floating.
        masks: Same shape, floating or bool, 1 = tampered, 0 = authentic.
        bce: Weight of the cross-entropy; only tells whether the term is computed. Same for the next two.
        dice: Weight of Dice.
        edge: Weight of the edge term.
        valid: Same shape, bool, False where a pixel shall not be scored (padding); None scores all.

    Returns:
        Unweighted terms, float32 (float64 for float64 logits); each 0 with zero gradient where it has no pixels.

    Raises:
        ShapeError: If the shapes are not (B, 1, H, W) and equal.
    """
    for name, tensor in (("masks", masks), ("valid", valid)):
        if logits.ndim != 4 or logits.shape[1] != 1 or (tensor is not None and tensor.shape != logits.shape):  # noqa: PLR2004
            found = None if tensor is None else tuple(tensor.shape)
            raise ShapeError(f"Expected logits and {name} (B, 1, H, W), got {tuple(logits.shape)} and {found}.")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    masks = masks.to(logits.dtype)
    scored = torch.ones_like(masks, dtype=torch.bool) if valid is None else valid.bool()
    none = logits.new_zeros(())
    pixels = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") if bce or edge else none
    return LocalizationTerms(
        bce=_mean_over(pixels, scored) if bce else none,
        dice=_dice(logits.sigmoid(), masks, scored) if dice else none,
        edge=_mean_over(pixels, scored & boundary_band(masks)) if edge else none,
    )


def image_loss(image_logits: Tensor, masks: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy of "any valid pixel of this image is tampered", a float32 scalar.

    Args:
        image_logits: Shape (B,), floating.
        masks: Shape (B, 1, H, W), floating or bool, 1 = tampered.
        valid: Same shape, bool; None scores all pixels.

    Raises:
        ShapeError: If there is not one logit for each mask.
    """
    if image_logits.shape != masks.shape[:1]:
        raise ShapeError(f"Expected {masks.shape[0]} image logits, got {tuple(image_logits.shape)}.")
    seen = masks.bool() if valid is None else masks.bool() & valid.bool()
    return F.binary_cross_entropy_with_logits(image_logits.float(), seen.flatten(1).any(1).float())


def boundary_band(masks: Tensor, radius: int = EDGE_RADIUS) -> Tensor:
    """Return where the mask is not constant within `radius` pixels (a square), bool, same shape.

    The image's own border is no boundary.
    """
    side = 2 * radius + 1
    dilated = F.max_pool2d(masks, side, stride=1, padding=radius)
    eroded = -F.max_pool2d(-masks, side, stride=1, padding=radius)
    return dilated > eroded


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    return values.where(chosen, 0).sum() / chosen.sum().clamp(min=1)


def _dice(scores: Tensor, masks: Tensor, scored: Tensor) -> Tensor:
    scores, masks = scores.where(scored, 0).flatten(1), masks.where(scored, 0).flatten(1)
    tampered = masks.sum(1)
    losses = 1 - (2 * (scores * masks).sum(1) + _DICE_SMOOTHING) / (scores.sum(1) + tampered + _DICE_SMOOTHING)
    return _mean_over(losses, tampered > 0)
