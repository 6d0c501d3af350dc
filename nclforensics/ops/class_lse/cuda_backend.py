"""The `cuda` backend: lays the patches out for the kernels in `kernels/`, launches them, and collects their results.

Its functions are those of `torch_backend` with a launcher more. Products are taken in bfloat16 and added in float32;
the embeddings are float32. Nothing here waits for the GPU, but for one number in the mode with groups (`layout.py`).
What would need a wait to raise comes out as NaN instead, everywhere: a role that does not exist, and similarities so
large (see `LARGEST_EXPONENT`) that a sum of exponentials could leave the range of float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from nclforensics.ops.class_lse.launch import Launch
from nclforensics.ops.class_lse.layout import PaddedLayout, lay_out
from nclforensics.ops.class_lse.modules import TILE_SHAPES, TileShape
from nclforensics.ops.class_lse.tiles import NUM_ROLES

if TYPE_CHECKING:
    from torch import Tensor

    from nclforensics.ops.class_lse.launch import Argument, Launcher

# The kernels compute 2^s without a shift, s = z_i.z_j log2(e) / tau. Up to |s| = 100 each power is a normal float32,
# and so are sums of 2^27 of them and the factors of the backward pass.
LARGEST_EXPONENT: Final = 100.0
_LOG2_E: Final = math.log2(math.e)
# A unit vector has at most this squared norm after rounding to bfloat16.
_ROUNDED_UNIT: Final = (1 + 2**-8) ** 2

_WARP: Final = 32
_PACK_THREADS: Final = 256
# Two blocks run on a multiprocessor at a time. More than 1024 tiles of partial results would be more memory than the
# better balance is worth.
_BLOCKS_PER_PROCESSOR: Final = 2
_MOST_PARTS: Final = 16
_MOST_PARTIAL_TILES: Final = 1024


def shift_is_safe(tau: float) -> bool:
    """Return whether exp(s / tau) of unit vectors stays in float32's range under the kernels' fixed shift, which is 0.

    True from tau = 0.0146 on. Embeddings that are not of unit norm are checked on the device.
    """
    return _ROUNDED_UNIT * _LOG2_E / tau <= LARGEST_EXPONENT


def lse_forward(embeddings: Tensor, roles: Tensor, groups: Tensor | None, tau: float, *, launcher: Launcher) -> Tensor:
    """Return L as `torch_backend.lse_forward` does; all NaN where the module's docstring says so."""
    if not len(roles):
        return embeddings.new_empty((0, NUM_ROLES))
    pairs = _Pairs.of(embeddings, roles, groups, tau, launcher)
    sums = pairs.partials(NUM_ROLES)
    layout = pairs.layout
    pairs.forward("class_lse_forward", (pairs.keys, layout.tile_segments, layout.begins, layout.ends, sums))
    unsafe = ~(pairs.largest_norm * pairs.scale <= LARGEST_EXPONENT)
    return pairs.unpack(sums, 1.0).log_() + _nan_where(unsafe | ~layout.roles_known)


def lse_backward(
    grad: Tensor,
    embeddings: Tensor,
    roles: Tensor,
    groups: Tensor | None,
    lse: Tensor,
    tau: float,
    *,
    launcher: Launcher,
) -> Tensor:
    """Return dZ as `torch_backend.lse_backward` does."""
    if not len(roles):
        return torch.empty_like(embeddings)
    pairs = _Pairs.of(embeddings, roles, groups, tau, launcher)
    factors = pairs.pack((grad * torch.exp(-lse)).masked_fill(torch.isneginf(lse), 0), by_row=False)
    gradients = pairs.partials(pairs.shape.dim)
    layout = pairs.layout
    arguments = (pairs.keys, layout.tile_segments, layout.begins, factors, gradients)
    pairs.backward("class_lse_backward", arguments, key_values=1)
    return pairs.unpack(gradients, 1 / tau, width=embeddings.shape[1])


def softplus_forward(
    embeddings: Tensor, roles: Tensor, groups: Tensor | None, bias: Tensor, tau: float, *, launcher: Launcher
) -> Tensor:
    """Return U as `torch_backend.softplus_forward` does."""
    if not len(roles):
        return torch.empty_like(bias)
    pairs = _Pairs.of(embeddings, roles, groups, tau, launcher)
    row_bias = pairs.pack(bias[:, None] * _LOG2_E, by_row=True)
    sums = pairs.partials(1)
    layout = pairs.layout
    arguments = (pairs.keys, layout.tile_segments, layout.begins, layout.ends, row_bias, sums)
    pairs.forward("pair_softplus_forward", arguments)
    return pairs.unpack(sums, math.log(2)).flatten() + _nan_where(~layout.roles_known)


def softplus_backward(
    grad: Tensor,
    embeddings: Tensor,
    roles: Tensor,
    groups: Tensor | None,
    bias: Tensor,
    tau: float,
    *,
    launcher: Launcher,
) -> tuple[Tensor, Tensor]:
    """Return dZ and dbias as `torch_backend.softplus_backward` does."""
    if not len(roles):
        return torch.empty_like(embeddings), torch.empty_like(bias)
    pairs = _Pairs.of(embeddings, roles, groups, tau, launcher)
    values = pairs.pack(torch.stack((bias * _LOG2_E, grad), dim=1), by_row=True)
    gradients, bias_gradients = pairs.partials(pairs.shape.dim), pairs.partials(1)
    layout = pairs.layout
    arguments = (pairs.keys, layout.tile_segments, layout.begins, layout.ends, values, gradients, bias_gradients)
    pairs.backward("pair_softplus_backward", arguments, key_values=2)
    poison = _nan_where(~layout.roles_known)
    dz = pairs.unpack(gradients, -1 / tau, width=embeddings.shape[1])
    return dz + poison, pairs.unpack(bias_gradients, 1.0).flatten() + poison


@dataclass(frozen=True)
class _Pairs:
    """The embeddings as the pair kernels read them, and how those are launched.

    Attributes:
        layout: Rows of the patches.
        shape: Tiles for the embeddings' width.
        keys: Embeddings of all rows, 0 in rows of padding, shape (rows, shape.dim), bfloat16.
        largest_norm: The largest squared norm of a row, shape ().
        parts: Into how many parts the keys of a row tile are cut; each part writes results of its own.
        scale: log2(e) / tau.
        launcher: What runs the kernels.
    """

    layout: PaddedLayout
    shape: TileShape
    keys: Tensor
    largest_norm: Tensor
    parts: int
    scale: float
    launcher: Launcher

    @classmethod
    def of(cls, embeddings: Tensor, roles: Tensor, groups: Tensor | None, tau: float, launcher: Launcher) -> _Pairs:
        patches, dim = embeddings.shape
        assert embeddings.dtype == torch.float32, embeddings.dtype
        assert dim <= TILE_SHAPES[-1].dim, dim
        layout = lay_out(roles, groups)
        shape = next(shape for shape in TILE_SHAPES if dim <= shape.dim)
        keys = embeddings.new_zeros((layout.rows, shape.dim), dtype=torch.bfloat16)
        norms = embeddings.new_empty(patches)
        arguments = (embeddings.contiguous(), layout.places, keys, norms, patches, dim, shape.dim)
        launcher(_launch_by_warp("pack_embeddings", patches, arguments))
        parts = parts_of_keys(layout.tiles, _processors(embeddings.device))
        return cls(layout, shape, keys, norms.max(), parts, _LOG2_E / tau, launcher)

    def pack(self, values: Tensor, *, by_row: bool) -> Tensor:
        """Return values (N, K) at the rows of their patches, 0 elsewhere: (rows, K) by row, else (K, rows)."""
        (patches, columns), rows = values.shape, self.layout.rows
        packed = values.new_zeros((rows, columns) if by_row else (columns, rows))
        strides = (columns, 1) if by_row else (1, rows)
        arguments = (values.contiguous(), self.layout.places, packed, patches, columns, *strides)
        grid = (-(-patches // _PACK_THREADS), 1, 1)
        self.launcher(Launch("pack_values", (), grid, _PACK_THREADS, 0, arguments))
        return packed

    def partials(self, width: int) -> Tensor:
        """Return room for the results of all parts, shape (parts, rows, width)."""
        return self.largest_norm.new_empty((self.parts, self.layout.rows, width))

    def unpack(self, partials: Tensor, factor: float, *, width: int | None = None) -> Tensor:
        """Return factor times the sum over the parts for each patch, 0 for ignored ones, shape (N, width)."""
        parts, rows, padded = partials.shape
        patches, width = len(self.layout.places), width or padded
        out = partials.new_empty((patches, width))
        arguments = (partials, self.layout.places, out, patches, width, padded, rows, parts, factor)
        self.launcher(_launch_by_warp("unpack_rows", patches, arguments))
        return out

    def forward(self, kernel: str, arguments: tuple[Tensor, ...]) -> None:
        self._launch(kernel, arguments, self.shape.forward_threads, self.shape.shared_bytes(0))

    def backward(self, kernel: str, arguments: tuple[Tensor, ...], *, key_values: int) -> None:
        self._launch(kernel, arguments, self.shape.backward_threads, self.shape.shared_bytes(key_values))

    def _launch(self, kernel: str, arguments: tuple[Tensor, ...], threads: int, shared_bytes: int) -> None:
        grid = (self.layout.tiles, self.parts, 1)
        every: tuple[Argument, ...] = (*arguments, self.layout.segments, self.scale)
        self.launcher(Launch(kernel, self.shape.defines, grid, threads, shared_bytes, every))


def parts_of_keys(tiles: int, processors: int) -> int:
    """Return into how many parts to cut the keys of each row tile, so that no processor idles for long.

    Blocks run in waves of as many as fit on the GPU; the time is the number of waves times the length of a block.
    """
    wave = _BLOCKS_PER_PROCESSOR * processors
    most = max(1, min(_MOST_PARTS, _MOST_PARTIAL_TILES // tiles))
    return min(range(1, most + 1), key=lambda parts: (-(-tiles * parts // wave) / parts, parts))


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _launch_by_warp(kernel: str, patches: int, arguments: tuple[Argument, ...]) -> Launch:
    warps = _PACK_THREADS // _WARP
    return Launch(kernel, (), (-(-patches // warps), 1, 1), _PACK_THREADS, 0, arguments)


def _nan_where(flawed: Tensor) -> Tensor:
    """Return NaN if a flag of shape () is set, else 0, as a tensor to add."""
    return torch.zeros((), device=flawed.device).masked_fill(flawed, torch.nan)
