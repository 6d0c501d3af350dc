"""Roles of patches by the rule of the text, one patch and one pixel at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def count_pixels(
    mask: torch.Tensor, stride: int, *, valid: torch.Tensor | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """Return, patch by patch, the numbers of valid tampered pixels and of valid pixels of a mask (H, W)."""
    height, width = mask.shape
    tampered: list[list[int]] = []
    counted: list[list[int]] = []
    for top in range(0, height, stride):
        tampered.append([])
        counted.append([])
        for left in range(0, width, stride):
            here = [
                (y, x)
                for y in range(top, min(top + stride, height))
                for x in range(left, min(left + stride, width))
                if valid is None or bool(valid[y, x])
            ]
            tampered[-1].append(sum(bool(mask[y, x]) for y, x in here))
            counted[-1].append(len(here))
    return tampered, counted


def assign_roles(mask: torch.Tensor, stride: int, *, valid: torch.Tensor | None = None) -> list[list[int]]:
    """Return 0 authentic, 1 tampered, 2 contour, -1 ignored for each patch of a mask (H, W)."""
    tampered, counted = count_pixels(mask, stride, valid=valid)
    return [
        [_role(t, c, stride * stride) for t, c in zip(row_t, row_c, strict=True)]
        for row_t, row_c in zip(tampered, counted, strict=True)
    ]


def _role(tampered: int, counted: int, whole: int) -> int:
    if counted < whole:  # touches padding or a zone that is not scored
        return -1
    share = tampered / whole
    if share == 0:
        return 0
    return 1 if share == 1 else 2
