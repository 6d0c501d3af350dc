"""Registers the operations with PyTorch, so that autograd, torch.compile and opcheck know them.

Each has a form for any device, which is the `torch` backend, one for CUDA, which runs the backend that it is told, and
one for tensors without data. `backend` is "torch" or "cuda", already resolved; the gradient uses the value's backend.

Annotations must stay evaluated here (no `from __future__ import annotations`): `custom_op` reads the schema from them.
"""

from typing import Any

import torch
from torch import Tensor

from nclforensics.ops.class_lse import torch_backend


@torch.library.custom_op("nclforensics::class_lse", mutates_args=())
def class_lse_op(embeddings: Tensor, roles: Tensor, groups: Tensor | None, tau: float, backend: str) -> Tensor:
    """See `torch_backend.lse_forward`."""
    assert backend == "torch", backend
    return torch_backend.lse_forward(embeddings, roles, groups, tau)


@torch.library.custom_op("nclforensics::class_lse_backward", mutates_args=())
def class_lse_backward_op(
    grad: Tensor, embeddings: Tensor, roles: Tensor, groups: Tensor | None, lse: Tensor, tau: float, backend: str
) -> Tensor:
    """See `torch_backend.lse_backward`."""
    assert backend == "torch", backend
    return torch_backend.lse_backward(grad, embeddings, roles, groups, lse, tau)


@torch.library.custom_op("nclforensics::pair_softplus", mutates_args=())
def pair_softplus_op(
    embeddings: Tensor, roles: Tensor, groups: Tensor | None, bias: Tensor, tau: float, backend: str
) -> Tensor:
    """See `torch_backend.softplus_forward`."""
    assert backend == "torch", backend
    return torch_backend.softplus_forward(embeddings, roles, groups, bias, tau)


@torch.library.custom_op("nclforensics::pair_softplus_backward", mutates_args=())
def pair_softplus_backward_op(
    grad: Tensor, embeddings: Tensor, roles: Tensor, groups: Tensor | None, bias: Tensor, tau: float, backend: str
) -> tuple[Tensor, Tensor]:
    """See `torch_backend.softplus_backward`."""
    assert backend == "torch", backend
    return torch_backend.softplus_backward(grad, embeddings, roles, groups, bias, tau)


def _on_gpu(function: str) -> Any:  # noqa: ANN401 - any of the four signatures
    """Return the CUDA form of an operation: the function of that name, of the backend that the last argument names."""

    def run(*arguments: Any) -> Any:  # noqa: ANN401 - as above
        *inputs, backend = arguments
        if backend == "torch":
            return getattr(torch_backend, function)(*inputs)
        from nclforensics.ops.class_lse import cuda_backend  # noqa: PLC0415 - not before it is asked for
        from nclforensics.ops.class_lse.driver import launch_on_gpu  # noqa: PLC0415 - as above

        return getattr(cuda_backend, function)(*inputs, launcher=launch_on_gpu)

    return run


def _fake_lse(embeddings: Tensor, *_: object) -> Tensor:
    return embeddings.new_empty((embeddings.shape[0], 3))


def _fake_lse_backward(_: Tensor, embeddings: Tensor, *__: object) -> Tensor:
    return torch.empty_like(embeddings)


def _fake_softplus(_: Tensor, __: Tensor, ___: Tensor | None, bias: Tensor, *____: object) -> Tensor:
    return torch.empty_like(bias)


def _fake_softplus_backward(
    _: Tensor, embeddings: Tensor, __: Tensor, ___: Tensor | None, bias: Tensor, *____: object
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(embeddings), torch.empty_like(bias)


def _save_lse(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - torch types no ctx
    embeddings, roles, groups, ctx.tau, ctx.backend = inputs
    ctx.save_for_backward(embeddings, roles, groups, output)


def _lse_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:  # noqa: ANN401 - torch types no ctx
    embeddings, roles, groups, lse = ctx.saved_tensors
    dz = class_lse_backward_op(grad, embeddings, roles, groups, lse, ctx.tau, ctx.backend)
    return dz, None, None, None, None


def _save_softplus(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401, ARG001 - torch's protocol
    embeddings, roles, groups, bias, ctx.tau, ctx.backend = inputs
    ctx.save_for_backward(embeddings, roles, groups, bias)


def _softplus_gradients(
    ctx: Any,  # noqa: ANN401 - torch types no ctx
    grad: Tensor,
) -> tuple[Tensor, None, None, Tensor, None, None]:
    embeddings, roles, groups, bias = ctx.saved_tensors
    dz, dbias = pair_softplus_backward_op(grad, embeddings, roles, groups, bias, ctx.tau, ctx.backend)
    return dz, None, None, dbias, None, None


class_lse_op.register_kernel("cuda", _on_gpu("lse_forward"))
class_lse_op.register_fake(_fake_lse)
class_lse_op.register_autograd(_lse_gradients, setup_context=_save_lse)
class_lse_backward_op.register_kernel("cuda", _on_gpu("lse_backward"))
class_lse_backward_op.register_fake(_fake_lse_backward)
pair_softplus_op.register_kernel("cuda", _on_gpu("softplus_forward"))
pair_softplus_op.register_fake(_fake_softplus)
pair_softplus_op.register_autograd(_softplus_gradients, setup_context=_save_softplus)
pair_softplus_backward_op.register_kernel("cuda", _on_gpu("softplus_backward"))
pair_softplus_backward_op.register_fake(_fake_softplus_backward)
