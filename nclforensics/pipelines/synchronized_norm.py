"""Batch norm over the images of all ranks.

torch's SyncBatchNorm runs on GPUs only, so that on a CPU a module of ours takes its place, with the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nclforensics.losses.ranks import Ranks


def synchronize_norms(network: nn.Module, ranks: Ranks) -> nn.Module:
    """Replace every batch norm of a network by one that takes its statistics over all ranks.

    Weights, buffers and their names stay as they are. With one rank the network is returned untouched.
    """
    if ranks.count == 1:
        return network
    if next(network.parameters()).device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # torch ships it so
        return converted
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SynchronizedBatchNorm2d(child, ranks))
    return network


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose statistics are those of all ranks' images, of which each has as many; for any device.

    Args:
        norm: Whose weights, buffers and settings it takes over.
        ranks: Who shares the batch.
    """

    def __init__(self, norm: nn.BatchNorm2d, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        assert norm.affine, "the networks' norms have weights"
        assert norm.momentum is not None, "the networks' norms have running means that forget"
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (B, C, H, W), in training over all ranks; computed in float32 at least."""
        if not self.training:
            return super().forward(x)
        values = x if x.dtype == torch.float64 else x.float()
        count = self.ranks.count * values.numel() // self.num_features
        mean = self._sum(values) / count
        centred = values - mean
        variance = self._sum(centred.square()) / count
        self._track(mean.detach().flatten(), variance.detach().flatten() * (count / max(1, count - 1)))
        weight, bias = self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        return (centred * (variance + self.eps).rsqrt() * weight + bias).to(x.dtype)

    def _sum(self, values: Tensor) -> Tensor:
        """Return the sum over images and cells of all ranks, shape (1, C, 1, 1)."""
        sums: Tensor = _SumOverRanks.apply(values.sum((0, 2, 3), keepdim=True), self.ranks)  # type: ignore[no-untyped-call]  # torch ships it so
        return sums

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class _SumOverRanks(torch.autograd.Function):
    """A sum that each rank goes on to use in its own way, so that its gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:  # noqa: ANN401 - torch types no ctx
        ctx.ranks = ranks
        return ranks.add(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - as above
        return ctx.ranks.add(grad), None
