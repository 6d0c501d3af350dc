"""Which backend computes: by name, or by what the tensors and the machine allow."""

from __future__ import annotations

import functools
import os
import warnings
from typing import Final, Literal, get_args

import torch

from nclforensics.errors import DeviceUnavailableError, UsageError
from nclforensics.ops.class_lse.driver import launch_on_gpu
from nclforensics.ops.class_lse.modules import KERNEL_MODULES, TILE_SHAPES

Backend = Literal["auto", "torch", "cuda"]
BACKEND_VARIABLE: Final = "NCLF_KERNEL_BACKEND"
OLDEST_CAPABILITY: Final = (8, 0)
WIDEST: Final = TILE_SHAPES[-1].dim

_HALF = (torch.bfloat16, torch.float16)


def resolve_backend(backend: str, embeddings: torch.Tensor, *, tau: float) -> str:
    """Return the backend that computes for these embeddings, "torch" or "cuda".

    The kernels multiply in bfloat16 and add in float32. "auto" takes them on a GPU where the caller has accepted half
    precision: the embeddings are bfloat16 or float16, or autocast is on. It leaves float32 and float64 to "torch",
    which is exact, and so is every CPU. Where a kernel is wanted but cannot run, "auto" warns once and takes "torch".
    "cuda" asks for the kernels whatever the embeddings are, but for float64.

    Args:
        backend: "auto", "torch" or "cuda"; "auto" first takes what the environment variable NCLF_KERNEL_BACKEND names.
        embeddings: Shape (N, D), as the caller has them.
        tau: Temperature, > 0.

    Raises:
        UsageError: If the name is unknown, or "cuda" is asked for and dtype, D or tau do not suit the kernels.
        DeviceUnavailableError: If "cuda" is asked for and this device or machine cannot run the kernels.
    """
    device, dtype = embeddings.device, embeddings.dtype
    autocast = torch.is_autocast_enabled(device.type)
    accepts_half = dtype in _HALF or (autocast and dtype != torch.float64)
    unsuited = _unsuited(embeddings, tau) if device.type == "cuda" else None
    resolved: str = _resolved(backend, device, accepts_half=accepts_half, unsuited=unsuited)
    return resolved


def _unsuited(embeddings: torch.Tensor, tau: float) -> str | None:
    """Return why the embeddings do not suit the kernels, or None; in words that are constants to torch.compile."""
    from nclforensics.ops.class_lse.cuda_backend import shift_is_safe  # noqa: PLC0415 - not before it is needed

    if embeddings.dtype == torch.float64:
        return "The kernels multiply in bfloat16, which would make float64 embeddings meaningless."
    if embeddings.shape[1] > WIDEST:
        return f"The kernels are made for embeddings of at most {WIDEST} numbers."
    if not shift_is_safe(tau):
        return "At this temperature tau, exp(1 / tau) would leave the range of the kernels' float32."
    return None


# Under torch.compile the choice is made once, when the graph is made, as a Python `if` over dtypes would be; arguments
# must be constants of the graph, which sizes and tau need not be.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch ships this one without types
def _resolved(backend: str, device: torch.device, *, accepts_half: bool, unsuited: str | None) -> str:
    source = "backend"
    if backend == "auto":
        backend, source = os.environ.get(BACKEND_VARIABLE) or "auto", BACKEND_VARIABLE
    if backend not in get_args(Backend):
        raise UsageError(f'Expected {source} to be "auto", "torch" or "cuda", got "{backend}".')
    if backend == "torch" or (backend == "auto" and not (device.type == "cuda" and accepts_half)):
        return "torch"
    obstacle = unsuited or device_obstacle(device)
    if obstacle is None:
        return "cuda"
    if backend == "auto":
        _warn(obstacle)
        return "torch"
    error = UsageError if unsuited else DeviceUnavailableError
    raise error(f'{source} asks for "cuda", which cannot run here ("torch" runs everywhere). {obstacle}')


def device_obstacle(device: torch.device) -> str | None:
    """Return why the kernels cannot run on a device, as a sentence, or None if they can; loads all to find out."""
    if device.type != "cuda":
        return f"The embeddings are on the device {device}, not on an NVIDIA GPU."
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "This PyTorch sees no NVIDIA GPU."
    index = torch.cuda.current_device() if device.index is None else device.index
    return _gpu_obstacle(index)


@functools.cache
def _gpu_obstacle(index: int) -> str | None:
    device = torch.device("cuda", index)
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        return "{} has compute capability {}.{}, and bfloat16 needs {}.{}.".format(
            name, *capability, *OLDEST_CAPABILITY
        )
    try:
        # Each of them: a cache that was copied in part, or a source that this compiler refuses, must show now, where
        # PyTorch can still take over, and not in the first step.
        for module in KERNEL_MODULES:
            for defines in module.defines:
                launch_on_gpu.load(module.kernels[0], defines, device)
    except DeviceUnavailableError as error:
        return str(error)
    except RuntimeError as error:  # PyTorch's own, of a GPU that another process keeps for itself or that is broken
        return f"PyTorch cannot use this GPU ({str(error).partition(chr(10))[0]})."
    return None


@functools.cache
def _warn(obstacle: str) -> None:
    warnings.warn(
        f"Patch pairs are computed by PyTorch, not by the CUDA kernels: {obstacle}", RuntimeWarning, stacklevel=2
    )
