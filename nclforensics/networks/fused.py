"""A network for inference only: each batch norm is folded into the convolution before it.

In eval mode a batch norm multiplies and shifts each channel by constants, so a convolution with scaled weights and a
bias gives the same numbers and saves a pass over memory. The scores differ in the last bits only.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """Return a copy of a network, in eval mode, in which no batch norm directly follows a convolution.

    Args:
        network: Left as it is. Pairs are looked for in its `nn.Sequential` parts, where what follows is certain.
    """
    folded = copy.deepcopy(network).eval()
    for part in list(folded.modules()):
        if isinstance(part, nn.Sequential):
            for (_, first), (name, second) in pairwise(list(part.named_children())):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    _fold(first, second)
                    setattr(part, name, nn.Identity())
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the effect of the norm after it; products are float64, so that each weight rounds once."""
    scale = _double(norm.weight) / (_double(norm.running_var) + norm.eps).sqrt()
    shift = _double(norm.bias) - _double(norm.running_mean) * scale
    if convolution.bias is not None:
        shift = shift + _double(convolution.bias) * scale
    weight = _double(convolution.weight) * scale[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(convolution.weight.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(convolution.weight.dtype), requires_grad=False)


def _double(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "the networks' norms are affine and track statistics"
    return tensor.detach().double()
