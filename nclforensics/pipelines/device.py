"""The device that computes: chosen once, by name, and never silently another one than asked for."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nclforensics.errors import DeviceUnavailableError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def select_device(name: str) -> torch.device:
    """Return the device of that name.

    Args:
        name: "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: If the name is none of these.
        DeviceUnavailableError: If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name) is None:
        raise UsageError(f'Expected a device "auto", "cpu", "cuda" or "cuda:N", got {name!r}.')
    if name != "cpu":
        available = torch.cuda.device_count() if torch.cuda.is_available() else 0
        # The number as it was written: torch.device keeps one byte of it and takes "cuda:256" for "cuda:0".
        if int(name.partition(":")[2] or 0) >= available:
            raise DeviceUnavailableError(
                f'Device "{name}" was asked for, but PyTorch sees {available} CUDA devices here. '
                "Use --device cpu, or --device auto to take what there is."
            )
    return torch.device(name)


def bf16_note(device: torch.device, precision: str) -> str | None:
    """Return what to tell a user who asked for bf16 where it is slower than fp32, None where it is not.

    Args:
        device: Where to compute.
        precision: "fp32" or "bf16".
    """
    if precision != "bf16" or device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2":
        return None
    return (
        "This processor has no instructions for bf16, so it takes longer than fp32 here (6.5 times as long on one AMD "
        "EPYC). Use --precision fp32."
    )


def describe_device(device: torch.device) -> str:
    """Return the device's name for records, such as "cpu" or "cuda:0 (NVIDIA H100 80GB HBM3)"."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def processor_name() -> str:
    """Return the processor's name where the system tells it, else its architecture, such as "x86_64"."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def exact_convolutions() -> AbstractContextManager[None]:
    """Return a context in which a GPU's convolutions give equal bytes for equal input, to the digits of float32."""
    # Benchmarking would choose kernels by timing, and TF32 would drop half of the digits. `enabled` is False unless it
    # is named: then all convolutions would be computed without cuDNN.
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
