"""Layers applied to large maps: at once, or strip by strip for the same numbers in a fraction of the memory.

What a large image takes most memory for are not the maps that are kept but those inside a layer: at full resolution
each channel costs 4 bytes a pixel. A strip reads `reach` cells more on each side than it gives, so every cell of its
result sees what it would see at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Layer = Callable[[Tensor], Tensor]

PIXEL_STRIP: Final = 256  # cells across a strip where a cell is a pixel
CELL_STRIP: Final = 96  # and on coarser maps, in cells of the result


class Runner(Protocol):
    """How a layer is applied to a map (B, C, h, w): `at_once` or `in_strips`."""

    def __call__(
        self,
        layer: Layer,
        cells: Tensor,
        *,
        reach: int,
        stride: int = 1,
        strip: int = CELL_STRIP,
        consume: bool = False,
    ) -> Tensor:
        """Return `layer(cells)`; the arguments are those of `in_strips`."""
        ...


def at_once(
    layer: Layer, cells: Tensor, *, reach: int, stride: int = 1, strip: int = CELL_STRIP, consume: bool = False
) -> Tensor:
    """Return `layer(cells)`, as training and export need it: one graph, any size."""
    del reach, stride, strip, consume
    return layer(cells)


def in_strips(
    layer: Layer, cells: Tensor, *, reach: int, stride: int = 1, strip: int = CELL_STRIP, consume: bool = False
) -> Tensor:
    """Return `layer(cells)`, computed in strips along the map's longer side. For inference only.

    Args:
        layer: Maps (B, C, h, w) to (B, C', h / stride, w / stride); what it does may not depend on the place, but for
            the padding at the map's own borders.
        cells: Shape (B, C, h, w), sides that are multiples of the stride.
        reach: How many cells beyond its own a cell of the result depends on, in cells of the input.
        stride: Cells of the input for one of the result, along one side.
        strip: Cells of the result across a strip, times the stride; a map of up to twice as many is not cut.
        consume: Whether the input may be overwritten by the result, where their shapes are equal.
    """
    axis = 2 if cells.shape[2] >= cells.shape[3] else 3
    length, thickness = cells.shape[axis], strip * stride
    if length <= 2 * thickness:
        return layer(cells)
    margin = -(-reach // stride) * stride
    result: Tensor | None = None
    before = cells.narrow(axis, 0, 0)
    for start in range(0, length, thickness):
        stop = min(start + thickness, length)
        piece = _appended(before, cells.narrow(axis, start, min(stop + margin, length) - start), axis)
        skipped = before.shape[axis] // stride
        if stop < length:  # a copy: the strip's own cells may be overwritten below
            before = cells.narrow(axis, stop - margin, margin).clone()
        given = layer(piece).narrow(axis, skipped, (stop - start) // stride)
        if result is None:
            result = cells if consume and stride == 1 and _alike(given, cells) else _empty_like(given, cells, stride)
        result.narrow(axis, start // stride, given.shape[axis]).copy_(given)
    assert result is not None
    return result


def _appended(before: Tensor, cells: Tensor, axis: int) -> Tensor:
    """Return two maps joined in the layout that convolutions read: PyTorch would choose another, which they copy."""
    shape = list(cells.shape)
    shape[axis] += before.shape[axis]
    joined = torch.empty(shape, dtype=cells.dtype, device=cells.device, memory_format=torch.channels_last)
    return torch.cat([before, cells], dim=axis, out=joined)


def _alike(given: Tensor, cells: Tensor) -> bool:
    return given.shape[1] == cells.shape[1] and given.dtype == cells.dtype


def _empty_like(given: Tensor, cells: Tensor, stride: int) -> Tensor:
    shape = (given.shape[0], given.shape[1], cells.shape[2] // stride, cells.shape[3] // stride)
    return torch.empty(shape, dtype=given.dtype, device=given.device, memory_format=torch.channels_last)
