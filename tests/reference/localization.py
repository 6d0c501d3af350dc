"""The pixel terms as loops over images and pixels, written from their definitions."""

from __future__ import annotations

import torch


def _pixel_bce(logit: torch.Tensor, tampered: bool) -> torch.Tensor:  # noqa: FBT001 - a pixel's truth
    score = 1 / (1 + torch.exp(-logit))
    return -torch.log(score if tampered else 1 - score)


def _mean(losses: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(losses).mean() if losses else torch.zeros((), dtype=torch.float64)


def is_near_boundary(mask: list[list[bool]], y: int, x: int, radius: int) -> bool:
    """Return whether the square of `radius` around the pixel, cut at the image's border, holds both kinds of pixel."""
    rows = mask[max(y - radius, 0) : y + radius + 1]
    return len({pixel for row in rows for pixel in row[max(x - radius, 0) : x + radius + 1]}) == 2


def bce(logits: torch.Tensor, masks: list[list[list[bool]]], valid: list[list[list[bool]]]) -> torch.Tensor:
    """Mean over the valid pixels of the batch; logits (B, H, W)."""
    return _mean([_pixel_bce(logits[b, y, x], masks[b][y][x]) for b, y, x in _pixels(valid)])


def edge(
    logits: torch.Tensor, masks: list[list[list[bool]]], valid: list[list[list[bool]]], radius: int
) -> torch.Tensor:
    """Mean over the valid pixels near a boundary; logits (B, H, W)."""
    near = [(b, y, x) for b, y, x in _pixels(valid) if is_near_boundary(masks[b], y, x, radius)]
    return _mean([_pixel_bce(logits[b, y, x], masks[b][y][x]) for b, y, x in near])


def dice(logits: torch.Tensor, masks: list[list[list[bool]]], valid: list[list[list[bool]]]) -> torch.Tensor:
    """Mean over the images with a valid tampered pixel of 1 - (2 overlap + 1) / (scores + tampered + 1)."""
    losses = []
    for image in range(len(masks)):
        overlap, scores, tampered = 0 * logits.sum(), 0 * logits.sum(), 0
        for b, y, x in _pixels(valid):
            if b == image:
                score = 1 / (1 + torch.exp(-logits[b, y, x]))
                scores = scores + score
                overlap = overlap + (score if masks[b][y][x] else 0)
                tampered += masks[b][y][x]
        if tampered:
            losses.append(1 - (2 * overlap + 1) / (scores + tampered + 1))
    return _mean(losses)


def _pixels(valid: list[list[list[bool]]]) -> list[tuple[int, int, int]]:
    return [
        (b, y, x)
        for b, image in enumerate(valid)
        for y, row in enumerate(image)
        for x, is_valid in enumerate(row)
        if is_valid
    ]
