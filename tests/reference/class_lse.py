"""Loops over patches, written from the formulas of the op; slow, and differentiable by autograd."""

from __future__ import annotations

import torch


def partners(roles: list[int], groups: list[int], anchor: int, role: int) -> list[int]:
    """Return the patches of `role` in the anchor's group, without the anchor; none for an ignored anchor."""
    if roles[anchor] == -1:
        return []
    return [j for j in range(len(roles)) if j != anchor and roles[j] == role and groups[j] == groups[anchor]]


def class_lse(z: torch.Tensor, roles: list[int], groups: list[int], tau: float) -> torch.Tensor:
    """L[i, c] = log sum over partners j of role c of exp(z_i.z_j / tau)."""
    rows = []
    for i in range(len(roles)):
        row = []
        for role in range(3):
            chosen = partners(roles, groups, i, role)
            if chosen:
                row.append(torch.stack([(z[i] @ z[j] / tau).exp() for j in chosen]).sum().log())
            else:
                row.append(torch.tensor(-torch.inf, dtype=z.dtype))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def class_similarity_sums(z: torch.Tensor, roles: list[int], groups: list[int], tau: float) -> torch.Tensor:
    """T[i, c] = sum over partners j of role c of z_i.z_j / tau."""
    rows = []
    for i in range(len(roles)):
        row = []
        for role in range(3):
            total = z.new_zeros(())
            for j in partners(roles, groups, i, role):
                total = total + z[i] @ z[j] / tau
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def pair_softplus(z: torch.Tensor, roles: list[int], groups: list[int], bias: torch.Tensor, tau: float) -> torch.Tensor:
    """U[i] = sum over partners j of the anchor's own role of log(1 + exp(bias_i - z_i.z_j / tau))."""
    sums = []
    for i in range(len(roles)):
        total = z.new_zeros(())
        for j in partners(roles, groups, i, roles[i]):
            total = total + torch.log(1 + torch.exp(bias[i] - z[i] @ z[j] / tau))
        sums.append(total)
    return torch.stack(sums)
