"""The `torch` backend: plain PyTorch over tiles, on any device; also the oracle of every faster backend.

Memory is O(N * D) plus one tile. README.md in this folder derives the gradients. The inputs are float32 or float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse.tiles import NUM_ROLES, tile_pairs

if TYPE_CHECKING:
    from torch import Tensor


def lse_forward(embeddings: Tensor, roles: Tensor, groups: Tensor | None, tau: float) -> Tensor:
    """Return L[i, c] = log sum_{j != i, roles_j = c, groups_j = groups_i} exp(z_i.z_j / tau), shape (N, 3)."""
    tiling = tile_pairs(roles, groups)
    z = embeddings[tiling.order]
    scaled = z / tau
    sums = z.new_full((len(z), NUM_ROLES), -torch.inf)
    # Autocast would silently turn the products into bfloat16: an error of 0.4 % of s, and s is up to 1 / tau.
    with torch.autocast(z.device.type, enabled=False):
        for tile in tiling.tiles():
            pairs = scaled[tile.rows] @ z[tile.columns].T
            tile.clear_diagonal(pairs, -torch.inf)
            sums[tile.rows, tile.role] = torch.logaddexp(sums[tile.rows, tile.role], _row_lse_(pairs))
    return _unsorted(sums, tiling.order, embeddings.new_full((len(embeddings), NUM_ROLES), -torch.inf))


def lse_backward(
    grad: Tensor, embeddings: Tensor, roles: Tensor, groups: Tensor | None, lse: Tensor, tau: float
) -> Tensor:
    """Return dZ of `lse_forward` for dL = `grad` (N, 3), given its result `lse`."""
    tiling = tile_pairs(roles, groups)
    z, lse = embeddings[tiling.order], lse[tiling.order]
    # A class without a partner has L = -inf and no gradient, whatever arrives here; L = 0 stands in for it, and the one
    # pair that could see it is the diagonal, which is cleared after exp.
    absent = torch.isneginf(lse)
    grad, lse = grad[tiling.order].masked_fill(absent, 0), lse.masked_fill(absent, 0)
    scaled, dz = z / tau, torch.zeros_like(z)
    with torch.autocast(z.device.type, enabled=False):
        for tile in tiling.tiles():
            weight = grad[tile.rows, tile.role, None]
            shift = lse[tile.rows, tile.role, None]
            # exp(s_ij - L[i, c]) <= 1: the share of partner j, safe for every tau and every norm.
            shares = torch.addmm(-shift, scaled[tile.rows], z[tile.columns].T).exp_()
            tile.clear_diagonal(shares, 0)
            dz[tile.rows] += weight * (shares @ z[tile.columns])
            dz[tile.columns] += shares.T @ (weight * z[tile.rows])
    return _unsorted(dz / tau, tiling.order, torch.zeros_like(embeddings))


def softplus_forward(embeddings: Tensor, roles: Tensor, groups: Tensor | None, bias: Tensor, tau: float) -> Tensor:
    """Return U[i] = sum_{j in P(i)} softplus(bias_i - z_i.z_j / tau), shape (N,).

    P(i) are the patches j != i of the role and group of i.
    """
    tiling = tile_pairs(roles, groups)
    z, offsets = embeddings[tiling.order], bias[tiling.order]
    scaled, sums = z / -tau, torch.zeros_like(offsets)
    with torch.autocast(z.device.type, enabled=False):
        for tile in tiling.tiles_of_same_role():
            margins = torch.addmm(offsets[tile.rows, None], scaled[tile.rows], z[tile.columns].T)
            tile.clear_diagonal(margins, -torch.inf)
            sums[tile.rows] -= F.logsigmoid(-margins).sum(1)
    return _unsorted(sums, tiling.order, torch.zeros_like(bias))


def softplus_backward(
    grad: Tensor, embeddings: Tensor, roles: Tensor, groups: Tensor | None, bias: Tensor, tau: float
) -> tuple[Tensor, Tensor]:
    """Return dZ and dbias of `softplus_forward` for dU = `grad` (N,)."""
    tiling = tile_pairs(roles, groups)
    z, offsets, weights = embeddings[tiling.order], bias[tiling.order], grad[tiling.order, None]
    scaled, dz, dbias = z / -tau, torch.zeros_like(z), torch.zeros_like(offsets)
    with torch.autocast(z.device.type, enabled=False):
        for tile in tiling.tiles_of_same_role():
            slopes = torch.addmm(offsets[tile.rows, None], scaled[tile.rows], z[tile.columns].T).sigmoid_()
            tile.clear_diagonal(slopes, 0)
            dbias[tile.rows] += slopes.sum(1)
            dz[tile.rows] -= weights[tile.rows] * (slopes @ z[tile.columns])
            dz[tile.columns] -= slopes.T @ (weights[tile.rows] * z[tile.rows])
    dz = _unsorted(dz / tau, tiling.order, torch.zeros_like(embeddings))
    return dz, _unsorted(dbias * weights.flatten(), tiling.order, torch.zeros_like(bias))


def _row_lse_(pairs: Tensor) -> Tensor:
    """Return logsumexp over each row, overwriting `pairs`; a row of -inf gives -inf."""
    peak = pairs.amax(1)
    peak = peak.masked_fill(torch.isneginf(peak), 0)
    return pairs.sub_(peak[:, None]).exp_().sum(1).log_().add_(peak)


def _unsorted(values: Tensor, order: Tensor, out: Tensor) -> Tensor:
    """Write the rows of the sorted patches to their places in `out`; ignored patches keep what `out` holds."""
    out[order] = values
    return out
