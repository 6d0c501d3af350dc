"""Runs kernel launches on CPU tensors: compiles the `.cu` sources with g++ against emulator.h."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from nclforensics.ops.class_lse.modules import KERNEL_MODULES

if TYPE_CHECKING:
    from nclforensics.ops.class_lse.launch import Argument, Launch
    from nclforensics.ops.class_lse.modules import Defines

COMPILER: Final = shutil.which("g++")
KERNELS: Final = Path(str(files("nclforensics.ops.class_lse") / "kernels"))

_KINDS: Final = {torch.int32: "I", torch.float32: "F", torch.bfloat16: "H"}


class EmulationError(Exception):
    """A kernel did what the hardware would not survive, or threads waited for each other for ever."""


class _Launch(ctypes.Structure):
    """emulator::Launch."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint),
        ("shared_bytes", ctypes.c_uint),
        ("seed", ctypes.c_uint),
        ("kinds", ctypes.c_char_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("num_tensors", ctypes.c_uint),
        ("tensor_starts", ctypes.POINTER(ctypes.c_void_p)),
        ("tensor_bytes", ctypes.POINTER(ctypes.c_size_t)),
    )


@dataclass
class EmulatedLauncher:
    """A `Launcher` for CPU tensors.

    Attributes:
        build: Folder for the compiled libraries.
        sources: Folder of the kernels.
        seed: Chooses the order of the warps and the moments of the copies.
        launches: Every launch so far.
        libraries: Compiled sources by file name and constants.
    """

    build: Path
    sources: Path = KERNELS
    seed: int = 0
    launches: list[Launch] = field(default_factory=list)
    libraries: dict[tuple[str, Defines], ctypes.CDLL] = field(default_factory=dict)

    def __call__(self, launch: Launch) -> None:
        """Run all blocks of a launch.

        Raises:
            EmulationError: If the launch does not suit the kernel, or the kernel breaks a rule of the hardware.
        """
        self.launches.append(launch)
        function = getattr(self._library(launch), f"emulate_{launch.kernel}")
        function.restype = ctypes.c_char_p
        tensors = [argument for argument in launch.arguments if isinstance(argument, torch.Tensor)]
        assert all(tensor.is_contiguous() for tensor in tensors)
        values = [_c_value(argument) for argument in launch.arguments]
        structure = _Launch(
            grid=launch.grid,
            block=launch.block,
            shared_bytes=launch.shared_bytes,
            seed=self.seed,
            kinds="".join(_kind(argument) for argument in launch.arguments).encode(),
            arguments=(ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values)),
            num_tensors=len(tensors),
            tensor_starts=(ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors)),
            tensor_bytes=(ctypes.c_size_t * len(tensors))(*(tensor.nbytes for tensor in tensors)),
        )
        message = function(ctypes.byref(structure)).decode()
        if message:
            raise EmulationError(f"{launch.kernel}: {message}")

    def _library(self, launch: Launch) -> ctypes.CDLL:
        module = next(module for module in KERNEL_MODULES if launch.kernel in module.kernels)
        key = module.source, launch.defines
        if key not in self.libraries:
            self.libraries[key] = ctypes.CDLL(str(self._compile(module.source, module.kernels, launch.defines)))
        return self.libraries[key]

    def _compile(self, source: str, kernels: tuple[str, ...], defines: Defines) -> Path:
        assert COMPILER, "needs g++"
        name = "_".join([Path(source).stem, *(str(value) for _, value in defines)])
        host, library = self.build / f"{name}.cpp", self.build / f"{name}.so"
        lines = ['#include "emulator.h"', f'#include "{source}"', *(f"EMULATE({kernel})" for kernel in kernels), ""]
        host.write_text("\n".join(lines))
        options = ["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-fno-gnu-unique", "-fPIC", "-shared"]
        warnings = ["-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-parentheses", "-Werror"]
        folders = [f"-I{self.sources}", f"-I{Path(__file__).parent}"]
        constants = [f"-D{key}={value}" for key, value in defines]
        command = [COMPILER, *options, *warnings, *folders, *constants, "-o", str(library), str(host)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own sources
        assert done.returncode == 0, done.stderr
        return library


def _c_value(argument: Argument) -> ctypes.c_void_p | ctypes.c_int | ctypes.c_float:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_float(argument)


def _kind(argument: Argument) -> str:
    if isinstance(argument, torch.Tensor):
        return _KINDS[argument.dtype]
    return "i" if isinstance(argument, int) else "f"
