"""The op shared by processes: all hold the same patches, and each computes the pairs of its share of the anchors.

Forward, a process computes its anchors' rows of L or U against all patches, and the rows are put together. Backward,
all have the same gradient of them; a process differentiates its own rows (`torch`) or computes its own rows of the
symmetric W (`cuda`), and the parts of dZ are added up. Both ways every process ends with what one alone would compute.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse.backend_choice import resolve_backend
from nclforensics.ops.class_lse.driver import launch_on_gpu
from nclforensics.ops.class_lse.tiles import NUM_ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from nclforensics.ops.class_lse.launch import Launch, Launcher

_ROWS: Final = 512  # anchors at a time: with all patches as partners, 32 MiB of float32 at 16,384 patches
# The kernels that walk over pairs, with the number of their results. Their arguments are keys, the segment of each row
# tile, ..., results, number of segments, scale.
_RESULTS: Final = {
    "class_lse_forward": 1,
    "class_lse_backward": 1,
    "pair_softplus_forward": 1,
    "pair_softplus_backward": 2,
}


class Shares(Protocol):
    """The processes that share the work.

    Attributes:
        index: Number of this process.
        count: Number of processes.
    """

    index: int
    count: int

    def add(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, without gradient."""
        ...


def shared_class_lse(embeddings: Tensor, roles: Tensor, *, tau: float, shares: Shares, backend: str = "auto") -> Tensor:
    """Return what `class_lse` returns without groups; a call of all processes, with the same arguments.

    The gradient of the result must be the same in all processes; then so is that of the embeddings.
    """
    chosen = resolve_backend(backend, embeddings, tau=tau)
    z = _at_least_float32(embeddings)
    lse: Tensor = _SharedLse.apply(z, roles, tau, chosen, shares)  # type: ignore[no-untyped-call]  # torch ships it so
    return lse


def shared_pair_softplus(
    embeddings: Tensor, roles: Tensor, bias: Tensor, *, tau: float, shares: Shares, backend: str = "auto"
) -> Tensor:
    """Return what `pair_softplus` returns without groups; otherwise as `shared_class_lse`."""
    chosen = resolve_backend(backend, embeddings, tau=tau)
    z = _at_least_float32(embeddings)
    sums: Tensor = _SharedSoftplus.apply(z, bias.to(z.dtype), roles, tau, chosen, shares)  # type: ignore[no-untyped-call]  # torch ships it so
    return sums


def own_tiles_only(launcher: Launcher, shares: Shares) -> Launcher:
    """Return a launcher whose pair kernels compute this process's share of the row tiles and leave 0 in all others.

    The kernels return at once from a row tile that is not in use, and read all keys for the others.
    """

    def launch(call: Launch) -> None:
        results = _RESULTS.get(call.kernel)
        if results:
            *arguments, segments, scale = call.arguments
            tile_segments = cast("torch.Tensor", arguments[1])
            tiles = torch.arange(len(tile_segments), device=tile_segments.device)
            arguments[1] = tile_segments.where(tiles % shares.count == shares.index, cast("int", segments))
            for result in arguments[-results:]:
                cast("torch.Tensor", result).zero_()
            call = replace(call, arguments=(*arguments, segments, scale))
        launcher(call)

    return launch


class _SharedLse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, roles: Tensor, tau: float, backend: str, shares: Shares) -> Tensor:  # noqa: ANN401 - torch types no ctx
        if backend == "cuda":
            own = _on_gpu("lse_forward", shares)(z, roles, None, tau)
        else:
            own = z.new_full((len(z), NUM_ROLES), -torch.inf)
            with torch.autocast(z.device.type, enabled=False):
                for rows in _own_rows(roles, shares):
                    own[rows] = _lse_rows(z, roles, rows, tau)
        lse = _joined(own, shares)
        ctx.save_for_backward(z, roles, lse)
        ctx.rest = tau, backend, shares
        return lse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:  # noqa: ANN401 - as above
        z, roles, lse = ctx.saved_tensors
        tau, backend, shares = ctx.rest
        grad = grad.masked_fill(torch.isneginf(lse), 0)
        if backend == "cuda":
            dz = _on_gpu("lse_backward", shares)(grad, z, roles, None, lse, tau)
        else:
            (dz,) = _gradients(lambda rows, z: _lse_rows(z, roles, rows, tau), grad, (z,), _own_rows(roles, shares))
        return shares.add(dz), None, None, None, None


class _SharedSoftplus(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types no ctx
        z: Tensor,
        bias: Tensor,
        roles: Tensor,
        tau: float,
        backend: str,
        shares: Shares,
    ) -> Tensor:
        ctx.save_for_backward(z, bias, roles)
        ctx.rest = tau, backend, shares
        if backend == "cuda":
            return shares.add(_on_gpu("softplus_forward", shares)(z, roles, None, bias, tau))
        own = torch.zeros_like(bias)
        with torch.autocast(z.device.type, enabled=False):
            for rows in _own_rows(roles, shares):
                own[rows] = _softplus_rows(z, bias, roles, rows, tau)
        return shares.add(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:  # noqa: ANN401 - as above
        z, bias, roles = ctx.saved_tensors
        tau, backend, shares = ctx.rest
        if backend == "cuda":
            dz, dbias = _on_gpu("softplus_backward", shares)(grad, z, roles, None, bias, tau)
        else:
            dz, dbias = _gradients(
                lambda rows, z, bias: _softplus_rows(z, bias, roles, rows, tau),
                grad,
                (z, bias),
                _own_rows(roles, shares),
            )
        return shares.add(dz), shares.add(dbias), None, None, None, None


def _on_gpu(function: str, shares: Shares) -> Callable[..., Any]:
    from nclforensics.ops.class_lse import cuda_backend  # noqa: PLC0415 - not before it is asked for

    return functools.partial(getattr(cuda_backend, function), launcher=own_tiles_only(launch_on_gpu, shares))


def _own_rows(roles: Tensor, shares: Shares) -> Iterator[Tensor]:
    """Yield this process's anchors in runs of at most `_ROWS`: every anchor has one process."""
    anchors = (roles >= 0).nonzero().squeeze(1)
    first, last = (len(anchors) * number // shares.count for number in (shares.index, shares.index + 1))
    for start in range(first, last, _ROWS):
        yield anchors[start : min(start + _ROWS, last)]


def _lse_rows(z: Tensor, roles: Tensor, rows: Tensor, tau: float) -> Tensor:
    """Return the rows of L of these anchors."""
    columns = []
    for role in range(NUM_ROLES):
        partners = (roles == role).nonzero().squeeze(1)
        pairs = z[rows] @ z[partners].T / tau
        pairs = pairs.masked_fill(rows[:, None] == partners, -torch.inf)
        # logsumexp over nothing but -inf is -inf, but its gradient is NaN: such a row gets its -inf afterwards.
        empty = torch.isneginf(pairs).all(1)
        columns.append(pairs.masked_fill(empty[:, None], 0).logsumexp(1).masked_fill(empty, -torch.inf))
    return torch.stack(columns, dim=1)


def _softplus_rows(z: Tensor, bias: Tensor, roles: Tensor, rows: Tensor, tau: float) -> Tensor:
    """Return U of these anchors."""
    # Ignored patches may hold anything: the gradient of a pair that is masked afterwards is 0 times NaN, which is NaN.
    partners = (roles >= 0).nonzero().squeeze(1)
    margins = bias[rows, None] - z[rows] @ z[partners].T / tau
    apart = (roles[rows, None] != roles[partners]) | (rows[:, None] == partners)
    return -F.logsigmoid(-margins).masked_fill(apart, 0).sum(1)


def _gradients(
    compute: Callable[..., Tensor], grad: Tensor, inputs: tuple[Tensor, ...], runs: Iterator[Tensor]
) -> list[Tensor]:
    """Return the gradients of the inputs over all runs of rows; the pairs of one run live at a time."""
    leaves = [value.detach().requires_grad_() for value in inputs]
    sums = [torch.zeros_like(value) for value in inputs]
    with torch.autocast(grad.device.type, enabled=False), torch.enable_grad():
        for rows in runs:
            parts = torch.autograd.grad(compute(rows, *leaves), leaves, grad[rows])
            for total, part in zip(sums, parts, strict=True):
                total.add_(part)
    return sums


def _joined(own: Tensor, shares: Shares) -> Tensor:
    """Put rows together that are -inf everywhere but with their owner; a NaN stays one."""
    absent = torch.isneginf(own)
    sums = shares.add(torch.stack([own.masked_fill(absent, 0), (~absent).to(own.dtype)]))
    return sums[0].masked_fill(sums[1] == 0, -torch.inf)


def _at_least_float32(embeddings: Tensor) -> Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()
