"""Class-conditional counts and sums of similarities: linear in the embeddings, so plain autograd without pairs."""

from __future__ import annotations

import torch

from nclforensics.ops.class_lse.tiles import NUM_ROLES


def role_counts(roles: torch.Tensor, groups: torch.Tensor | None) -> torch.Tensor:
    """Return n[i, c], the number of other patches of role c in the group of i, shape (N, 3), int64."""
    members = (roles[:, None] == torch.arange(NUM_ROLES, device=roles.device)).long()
    counts = _group_sums(members, group_ranks(groups)) - members
    return counts.masked_fill(roles[:, None] < 0, 0)


def similarity_sums(embeddings: torch.Tensor, roles: torch.Tensor, groups: torch.Tensor | None) -> torch.Tensor:
    """Return sum_{j != i, roles_j = c, groups_j = groups_i} z_i.z_j, shape (N, 3)."""
    # Ignored patches may hold anything, and 0 * NaN is NaN: they are replaced, not multiplied by 0.
    z = embeddings.masked_fill(roles[:, None] < 0, 0)
    ranks = group_ranks(groups)
    columns = []
    for role in range(NUM_ROLES):
        members = z.masked_fill(roles[:, None] != role, 0)
        columns.append((z * (_group_sums(members, ranks) - members)).sum(1))
    return torch.stack(columns, dim=1)


def group_ranks(groups: torch.Tensor | None) -> torch.Tensor | None:
    """Number the groups 0, 1, ... by value; unlike `torch.unique`, of known shapes, which torch.compile needs."""
    if groups is None:
        return None
    ordered, order = torch.sort(groups, stable=True)
    steps = torch.zeros_like(ordered)
    steps[1:] = ordered[1:] != ordered[:-1]
    return torch.zeros_like(groups).scatter(0, order, steps.cumsum(0))


def _group_sums(values: torch.Tensor, ranks: torch.Tensor | None) -> torch.Tensor:
    """Return for every row of `values` (N, K) the sum over the rows of its group, shape (N, K)."""
    if ranks is None:
        return values.sum(0, keepdim=True).expand_as(values)
    return torch.zeros_like(values).index_add(0, ranks, values)[ranks]
