"""Whether a compiled network learns what the plain one does.

The compiler of PyTorch 2.13 was seen to return uninitialized memory for the embeddings (bf16, processors with AMX,
256 x 256 crops), so its word is not taken: the first batch goes through both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

# Relative difference of the two gradients. Rounding to bf16 alone makes about 0.2; unrelated gradients differ by more
# than 1, and a gradient that is not finite by no number at all.
TOLERANCE: Final = 0.75


def gradient_difference(
    network: nn.Module, plain_loss: Callable[[], Tensor], compiled_loss: Callable[[], Tensor]
) -> float:
    """Return ||compiled gradient - plain gradient|| / ||plain gradient|| of one batch's loss.

    The network is left as it was: its weights, its buffers (the norms' running means) and no gradients.

    Args:
        network: Whose parameters both losses reach.
        plain_loss: Computes the loss without the compiler.
        compiled_loss: Computes it with the compiled network.

    Returns:
        A number >= 0; not finite if one of the gradients is not.
    """
    plain, compiled = (_gradient(network, loss) for loss in (plain_loss, compiled_loss))
    return float((compiled - plain).norm() / plain.norm())


def _gradient(network: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    before = [buffer.clone() for buffer in network.buffers()]
    loss().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    for buffer, value in zip(network.buffers(), before, strict=True):
        buffer.copy_(value)
    return torch.cat(gradients)
