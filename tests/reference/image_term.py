"""The image head's cross-entropy as a loop over images and pixels."""

from __future__ import annotations

import math


def image_loss(logits: list[float], masks: list[list[list[bool]]], valid: list[list[list[bool]]]) -> float:
    """Return the mean of -log p over images with a valid tampered pixel and -log (1 - p) over the others."""
    losses = []
    for logit, mask, scored in zip(logits, masks, valid, strict=True):
        score = 1 / (1 + math.exp(-logit))
        tampered = any(
            truth and counts
            for row, counted in zip(mask, scored, strict=True)
            for truth, counts in zip(row, counted, strict=True)
        )
        losses.append(-math.log(score if tampered else 1 - score))
    return math.fsum(losses) / len(losses)
