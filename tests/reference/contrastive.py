"""The three contrastive forms as loops over anchors, positives and negatives, from the published definitions."""

from __future__ import annotations

import torch


def _side(role: int, contour: str) -> str:
    return {-1: "drop", 0: "authentic", 1: "tampered", 2: contour}[role]


def anchor_loss(
    anchor: torch.Tensor, positives: list[torch.Tensor], negatives: list[torch.Tensor], form: str
) -> torch.Tensor:
    """Return the loss of one anchor; the similarities are z.z' / tau already (the anchor is z / tau)."""
    exp_positives = [torch.exp(anchor @ p) for p in positives]
    exp_negatives = [torch.exp(anchor @ n) for n in negatives]
    pooled, repelled = torch.stack(exp_positives).sum(), torch.stack(exp_negatives).sum()
    if form == "infonce":
        return -torch.log(pooled / (pooled + repelled))
    if form == "supcon":
        return -torch.stack([torch.log(e / (pooled + repelled)) for e in exp_positives]).mean()
    return -torch.stack([torch.log(e / (e + repelled)) for e in exp_positives]).mean()


def contrastive_loss(
    z: torch.Tensor, roles: list[int], groups: list[int], *, contour: str, form: str, tau: float
) -> torch.Tensor:
    """Return the mean over the anchors that have a positive and a negative, 0 without any."""
    sides = [_side(role, contour) for role in roles]
    losses = []
    for i, side in enumerate(sides):
        if side == "drop":
            continue
        others = [j for j in range(len(roles)) if j != i and groups[j] == groups[i] and sides[j] != "drop"]
        positives = [z[j] for j in others if sides[j] == side]
        negatives = [z[j] for j in others if sides[j] != side]
        if positives and negatives:
            losses.append(anchor_loss(z[i] / tau, positives, negatives, form))
    return torch.stack(losses).mean() if losses else z.sum() * 0
