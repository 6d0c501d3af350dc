"""One call of a kernel as data, so that the same host code drives a GPU and the CPU emulator of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Argument = torch.Tensor | int | float | None


@dataclass(frozen=True)
class Launch:
    """What a launcher needs to run one kernel.

    Attributes:
        kernel: Name of an `extern "C"` function of the kernel sources.
        defines: Compile-time constants, such as ("DIM", 128); with the sources they name one compiled module.
        grid: Numbers of blocks along x, y and z.
        block: Threads a block, a multiple of 32.
        shared_bytes: Dynamic shared memory a block.
        arguments: By position: a tensor passes its data pointer, an int an int32, a float a float32, None a null
            pointer.
    """

    kernel: str
    defines: tuple[tuple[str, int], ...]
    grid: tuple[int, int, int]
    block: int
    shared_bytes: int
    arguments: tuple[Argument, ...]


# Runs a kernel on the stream that is current for its tensors' device; returns without waiting for it.
Launcher = Callable[[Launch], None]
