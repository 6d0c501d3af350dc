"""Contour-aware patch mining: which patches enter the contrastive loss.

All contour patches come first (up to a cap): they are the pivot and what the decoder must learn. Of the tampered and
the authentic patches those in a band around the contour are preferred, because they are the hard ones; the rest of each
cap is drawn from the whole image, so that the far background stays represented. Everything is drawn with one seeded
generator, and all images of a batch at once.

Cases decided on purpose: an image whose patches all have one role has no pair to compare within the image, so with
scope "image" it contributes no patch; with scope "batch" its patches serve the others as negatives and positives. An
image whose mask runs along the patch grid has no contour patch: the band then lies around the border between its
tampered and authentic patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from nclforensics.errors import ShapeError
from nclforensics.patches.roles import AUTHENTIC, CONTOUR, TAMPERED

if TYPE_CHECKING:
    from nclforensics.config import PatchConfig


@dataclass(frozen=True)
class MinedPatches:
    """The chosen patches, sorted by image.

    Attributes:
        index: Position of each in the flattened (B, h, w) grid, shape (N,), int64.
        roles: Its role, shape (N,), int64.
        groups: The image it belongs to, shape (N,), int64, ascending.
    """

    index: Tensor
    roles: Tensor
    groups: Tensor


def mine_patches(roles: Tensor, config: PatchConfig, *, generator: torch.Generator) -> MinedPatches:
    """Choose patches from a batch's roles.

    Args:
        roles: Shape (B, h, w), int64, from `assign_roles`.
        config: Caps and band. With scope "batch" the caps hold for the batch: B times the value for an image.
        generator: Seeds the draw; its device may differ from that of `roles`.

    Raises:
        ShapeError: If roles is not (B, h, w).
    """
    if roles.ndim != 3:  # noqa: PLR2004 - (B, h, w)
        raise ShapeError(f"Expected roles (B, h, w), got {tuple(roles.shape)}.")
    batch, height, width = roles.shape
    near = contour_band(roles, config.band).flatten(1)
    flat = roles.flatten(1)
    draw = torch.rand(flat.shape, generator=generator, device=generator.device).to(roles.device)
    usable = torch.ones(batch, 1, dtype=torch.bool, device=roles.device)
    if config.scope == "image":
        usable = _has_two_roles(flat)
    factor = 1
    if config.scope == "batch":
        flat, near, draw, factor = flat.reshape(1, -1), near.reshape(1, -1), draw.reshape(1, -1), batch
        usable = usable.any().reshape(1, 1)
    share = config.near_share
    chosen = _choose(flat == CONTOUR, near, draw, cap=factor * config.contour_cap, share=1.0)
    chosen |= _choose(flat == TAMPERED, near, draw, cap=factor * config.tampered_cap, share=share)
    chosen |= _choose(flat == AUTHENTIC, near, draw, cap=factor * config.authentic_cap, share=share)
    index = (chosen & usable).flatten().nonzero().squeeze(1)
    return MinedPatches(index, roles.flatten()[index], index // (height * width))


def contour_band(roles: Tensor, band: int) -> Tensor:
    """Return which patches lie within `band` patches (Chebyshev distance) of the contour, shape (B, h, w), bool.

    The contour is every contour patch and every tampered patch beside an authentic one, or the reverse.
    """
    contour = roles == CONTOUR
    border = (_dilate(roles == TAMPERED, 1) & (roles == AUTHENTIC)) | (
        _dilate(roles == AUTHENTIC, 1) & (roles == TAMPERED)
    )
    return _dilate(contour | border, band)


def _dilate(cells: Tensor, radius: int) -> Tensor:
    if radius == 0:
        return cells
    return F.max_pool2d(cells.float().unsqueeze(1), 2 * radius + 1, stride=1, padding=radius).squeeze(1) > 0


def _has_two_roles(flat: Tensor) -> Tensor:
    """Return, shape (B, 1), whether an image has patches of at least two roles."""
    present = [(flat == role).any(dim=1) for role in (AUTHENTIC, TAMPERED, CONTOUR)]
    return (torch.stack(present).sum(dim=0) > 1).unsqueeze(1)


def _choose(candidates: Tensor, near: Tensor, draw: Tensor, *, cap: int, share: float) -> Tensor:
    """Return up to `cap` candidates a row, shape (G, P), bool: first near ones, up to `share` of the cap, then any."""
    preferred = _first(candidates & near, draw, round(share * cap))
    # Preferred ones rank before all others, which keep their random order.
    return _first(candidates, draw - preferred.to(draw.dtype) * 2.0, cap)


def _first(candidates: Tensor, key: Tensor, count: int) -> Tensor:
    """Return the `count` candidates with the smallest keys in each row, shape (G, P), bool."""
    order = torch.where(candidates, key, torch.inf).argsort(dim=1, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return candidates & (rank < count)
