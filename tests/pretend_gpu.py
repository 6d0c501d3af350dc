"""A GPU that is none: tensors that say they are elsewhere, and refuse to be mixed with those of the CPU.

A mistake such as an index on the wrong device passes every test on a CPU and fails on the first GPU. Here each tensor
of the device "meta" holds a tensor of the CPU that computes for it, so that values are real and everything runs, but an
operation that a GPU would refuse, or a NumPy array of such a tensor, is an error. (`torch.tensor(..., device=...)` goes
past all this: it makes a tensor without values, which is refused as well.)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PRETEND: Final = torch.device("meta")
_MAY_MIX: Final = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class PretendTensor(torch.Tensor):
    """A tensor of the pretended GPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls: type[Self], inner: torch.Tensor) -> Self:
        """Wrap a tensor of the CPU."""
        outer: Self = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=PRETEND,
        )  # fmt: skip
        outer.held = inner
        return outer

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - torch's protocol
        """Run an operation outside of the mode, as autograd does."""
        return _run(function, args, kwargs or {})

    def tolist(self) -> Any:  # noqa: ANN401 - numbers in lists
        """Return the values, as a GPU's tensor does; torch forbids it to subclasses."""
        return self.held.tolist()


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it so
    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's protocol
        return _run(function, args, kwargs or {})


@contextlib.contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Give the device `PRETEND`; what is known to be the same on a real GPU and unknown to torch is passed over."""
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled

    def autocast_elsewhere(device_type: str, **options: Any) -> Any:  # noqa: ANN401 - torch's own class, or nothing
        return contextlib.nullcontext() if device_type == PRETEND.type else autocast(device_type, **options)

    monkeypatch.setattr(torch, "autocast", autocast_elsewhere)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda name: name != PRETEND.type and is_enabled(name))
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else a moved module keeps the CPU's parameters
    try:
        mode = _Mode()  # type: ignore[no-untyped-call]  # torch ships it so
        with mode, torch.autograd.set_multithreading_enabled(False):
            yield PRETEND
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - any operation of torch
    given, structure = tree_flatten((args, kwargs))
    tensors = [value for value in given if isinstance(value, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    # A single number of the CPU is welcome on a GPU.
    strays = [tensor for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.ndim]
    if there and strays and function not in _MAY_MIX:
        shapes = [tuple(tensor.shape) for tensor in strays]
        raise RuntimeError(f"{function} mixes devices: tensors of the CPU have the shapes {shapes}.")
    if kwargs.get("device") is not None:
        wrapped = torch.device(kwargs["device"]).type == PRETEND.type
    else:
        wrapped = isinstance(args[0], PretendTensor) if function in _MAY_MIX else bool(there)
    plain = [torch.device("cpu") if isinstance(value, torch.device) else _inner(value) for value in given]
    plain_args, plain_kwargs = tree_unflatten(plain, structure)
    result = function(*plain_args, **plain_kwargs)
    if not wrapped:
        return result
    known = {id(inner): outer for inner, outer in zip(plain, given, strict=True) if isinstance(outer, PretendTensor)}
    # What works in place returns the tensor that it was given.
    return tree_map(lambda value: known[id(value)] if id(value) in known else _outer(value), result)


def _inner(value: Any) -> Any:  # noqa: ANN401 - any argument of an operation
    return value.held if isinstance(value, PretendTensor) else value


def _outer(value: Any) -> Any:  # noqa: ANN401 - any result of an operation
    return PretendTensor(value) if isinstance(value, torch.Tensor) else value
