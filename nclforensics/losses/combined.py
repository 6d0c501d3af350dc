"""The whole training loss, with every term reported."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from nclforensics.losses.contrastive import contrastive_loss
from nclforensics.losses.localization import boundary_band, image_loss, localization_loss
from nclforensics.losses.pivot_consistency import pivot_consistency_loss
from nclforensics.losses.ranks import ALONE

if TYPE_CHECKING:
    from torch import Tensor

    from nclforensics.config import ContourRole, LossConfig
    from nclforensics.losses.contrastive import ContourSide
    from nclforensics.losses.ranks import Ranks

# The side on which contour patches count, in branch plus and in branch minus.
CONTOUR_SIDES: dict[ContourRole, tuple[ContourSide, ContourSide]] = {
    "pivot": ("tampered", "authentic"),
    "tampered": ("tampered", "tampered"),
    "authentic": ("authentic", "authentic"),
    "drop": ("drop", "drop"),
}


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """What one training step hands to the loss: B images, N mined patches of which C are contour patches.

    Attributes:
        logits: Shape (B, 1, H, W), floating.
        masks: Shape (B, 1, H, W), floating, 1 = tampered.
        valid: Shape (B, 1, H, W), bool, False where a pixel shall not be scored; None scores all.
        embeddings_plus: Shape (N, D), unit embeddings of branch plus.
        embeddings_minus: Shape (N, D), those of branch minus at the same patches.
        roles: Shape (N,), int64: 0 authentic, 1 tampered, 2 contour, -1 ignored.
        groups: Shape (N,), int64, the image of each patch; None compares the patches of the whole batch.
        contour_features_plus: Shape (C, F), spatial features of branch plus at the contour patches.
        contour_features_minus: Shape (C, F), those of branch minus.
        image_logits: Shape (B,), logit of each image holding any tampered pixel; None without an image head.
    """

    logits: Tensor
    masks: Tensor
    valid: Tensor | None = None
    embeddings_plus: Tensor
    embeddings_minus: Tensor
    roles: Tensor
    groups: Tensor | None = None
    contour_features_plus: Tensor
    contour_features_minus: Tensor
    image_logits: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """The total and its terms before weighting, all scalars; a term of weight 0 is not computed and is 0."""

    total: Tensor
    bce: Tensor
    dice: Tensor
    edge: Tensor
    contrastive_plus: Tensor
    contrastive_minus: Tensor
    pivot_consistency: Tensor
    image: Tensor

    def scalars(self) -> dict[str, float]:
        """Return every term as a number, by name; waits for the device."""
        return {term.name: float(getattr(self, term.name).detach()) for term in fields(self)}


@dataclass(frozen=True)
class CombinedLoss:
    """L = bce + dice + edge + contrastive (L+ + L-) / 2 + pivot-consistent + image, each with its weight.

    Attributes:
        config: Weights, contrastive form, temperature and the role of contour patches.
        backend: See `nclforensics.ops.class_lse.resolve_backend`.
        ranks: The processes that share the batch: every one gets the terms of the whole batch, and the gradient of
            their total with respect to its own inputs.
    """

    config: LossConfig
    backend: str = "auto"
    ranks: Ranks = ALONE

    def __call__(self, inputs: LossInputs) -> LossTerms:
        """Return the total, connected to every input that a term of non-zero weight reads, and the terms.

        Raises:
            ShapeError: If a shape does not fit.
            UsageError: If a role or a setting is unusable.
        """
        config, none = self.config, inputs.logits.new_zeros(())
        pixels = localization_loss(
            inputs.logits, inputs.masks, bce=config.bce, dice=config.dice, edge=config.edge, valid=inputs.valid
        )
        plus, minus = self._contrastive(inputs) if config.contrastive else (none, none)
        consistency = image = none
        if config.pivot_consistency:
            consistency = pivot_consistency_loss(inputs.contour_features_plus, inputs.contour_features_minus)
        if config.image and inputs.image_logits is not None:
            image = image_loss(inputs.image_logits, inputs.masks, valid=inputs.valid)
        bce, dice, edge, consistency, image = self._over_ranks(
            inputs, (pixels.bce, pixels.dice, pixels.edge, consistency, image)
        )
        total = config.bce * bce + config.dice * dice + config.edge * edge
        total = total + config.contrastive * (plus + minus) / 2 + config.pivot_consistency * consistency
        if config.image and inputs.image_logits is not None:
            total = total + config.image * image
        return LossTerms(
            total=total,
            bce=bce,
            dice=dice,
            edge=edge,
            contrastive_plus=plus,
            contrastive_minus=minus,
            pivot_consistency=consistency,
            image=image,
        )

    def _over_ranks(self, inputs: LossInputs, means: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the means over all ranks: those of the ranks, weighted by what each took its mean over."""
        if self.ranks.count == 1:
            return means
        # float64 counts pixels exactly, and one reduction serves all terms.
        counts = torch.stack(_counted(inputs, edge=bool(self.config.edge))).double()
        sums = self.ranks.total(torch.stack([mean.double() for mean in means]) * counts)
        dtype = torch.float64 if inputs.logits.dtype == torch.float64 else torch.float32
        return tuple((sums / self.ranks.add(counts).clamp(min=1)).to(dtype).unbind())

    def _contrastive(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        plus, minus = (
            contrastive_loss(
                embeddings,
                inputs.roles,
                contour=side,
                form=self.config.form,
                tau=self.config.tau,
                groups=inputs.groups,
                backend=self.backend,
                ranks=self.ranks,
            )
            for embeddings, side in zip(
                (inputs.embeddings_plus, inputs.embeddings_minus), CONTOUR_SIDES[self.config.contour], strict=True
            )
        )
        return plus, minus


def _counted(inputs: LossInputs, *, edge: bool) -> list[Tensor]:
    """Return what bce, dice, edge, pivot consistency and the image term take their means over, on this rank."""
    masks = inputs.masks.bool()
    valid = torch.ones_like(masks) if inputs.valid is None else inputs.valid.bool()
    near = boundary_band(inputs.masks.to(inputs.logits.dtype)) & valid if edge else valid
    contour, images = len(inputs.contour_features_plus), len(masks)
    return [
        valid.sum(),
        (masks & valid).flatten(1).any(1).sum(),
        near.sum(),
        *torch.tensor([contour, images], device=masks.device),
    ]
