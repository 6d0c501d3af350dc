"""The pivot-consistent loss as a loop over contour patches."""

from __future__ import annotations

import math


def pivot_consistency_loss(plus: list[list[float]], minus: list[list[float]]) -> float:
    """Return the mean of 1 - cosine; a zero vector has cosine 0."""
    losses = []
    for u, v in zip(plus, minus, strict=True):
        norm = math.sqrt(math.fsum(x * x for x in u)) * math.sqrt(math.fsum(x * x for x in v))
        losses.append(1 - math.fsum(x * y for x, y in zip(u, v, strict=True)) / norm if norm else 1.0)
    return math.fsum(losses) / len(losses) if losses else 0.0
