"""The processes ("ranks") that share one batch, as the losses see them.

Every rank computes the same, global value of each loss term, and what reaches its own tensors is the gradient of that
value. So the gradients of all ranks' weights, added up, are those of one process on the whole batch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.distributed as dist

from nclforensics.errors import DeviceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class RankLostError(DeviceUnavailableError):
    """Another process of a training ended, or does not answer."""


@contextmanager
def naming_lost_ranks() -> Iterator[None]:
    """Turn what the communication library raises when a process is gone into a `RankLostError`."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        # Gloo's errors are plain RuntimeErrors, known by their text alone.
        if not isinstance(error, dist.DistError) and not any(word in text.lower() for word in ("gloo", "nccl")):
            raise
        reason = text.splitlines()[0][:200] if text else type(error).__name__
        raise RankLostError(
            f"Another process of this training ended or does not answer; its own message, if it left one, says why "
            f"({reason})."
        ) from error


class Ranks:
    """Sums over all ranks. With one rank, which is the default, every method returns its argument.

    Args:
        index: Number of this rank.
        count: Number of ranks; more than one need torch's default process group.
    """

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index = index
        self.count = count

    def add(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks, without gradient."""
        if self.count == 1:
            return values
        sums = values.detach().clone(memory_format=torch.contiguous_format)
        with naming_lost_ranks():
            dist.all_reduce(sums)
        return sums

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks; its gradient, which is the same on every rank, passes as it is."""
        if self.count == 1:
            return values
        sums: Tensor = _Total.apply(values, self)  # type: ignore[no-untyped-call]  # torch ships it so
        return sums

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks, in the order of the ranks, shape (N, ...), of this rank's (n, ...).

        n may differ and be 0. The gradient, which is the same on every rank, goes to each rank's own rows.
        """
        if self.count == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]  # torch ships it so
        return gathered

    def _gathered(self, rows: Tensor) -> tuple[Tensor, int]:
        """Return the rows of all ranks, and where this rank's begin."""
        numbers = torch.zeros(self.count, dtype=torch.int64, device=rows.device)
        numbers[self.index] = len(rows)
        counts = self.add(numbers).tolist()
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        everyone = [torch.empty_like(padded) for _ in counts]
        with naming_lost_ranks():
            dist.all_gather(everyone, padded)
        parts = [part[:count] for part, count in zip(everyone, counts, strict=True)]
        return torch.cat(parts), sum(counts[: self.index])


ALONE: Final = Ranks()


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:  # noqa: ANN401 - torch types no ctx
        return ranks.add(values)

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - as above
        return grad, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:  # noqa: ANN401 - torch types no ctx
        gathered, start = ranks._gathered(rows)  # noqa: SLF001 - a part of that class, outside for autograd's sake
        ctx.own = slice(start, start + len(rows))
        return gathered

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - as above
        return grad[ctx.own], None
