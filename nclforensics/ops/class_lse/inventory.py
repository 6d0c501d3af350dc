"""What the CUDA kernels find on this machine, and how their machine code is made for another one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch

from nclforensics.errors import DeviceUnavailableError, OutputError, UsageError
from nclforensics.ops.class_lse.backend_choice import BACKEND_VARIABLE, device_obstacle
from nclforensics.ops.class_lse.compiler import Nvrtc, compile_module, find_nvrtc
from nclforensics.ops.class_lse.cubin_cache import CubinCache, cache_folder, entry_name, entry_prefix
from nclforensics.ops.class_lse.modules import KERNEL_MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nclforensics.ops.class_lse.modules import Defines


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """One GPU.

    Attributes:
        index: PyTorch's number of it.
        name: The product's.
        capability: Compute capability, such as "9.0".
        obstacle: Why the kernels cannot run on it, None if they can.
    """

    index: int
    name: str
    capability: str
    obstacle: str | None


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything that decides whether the kernels run.

    Attributes:
        torch: Version of PyTorch.
        torch_cuda: The CUDA version that it was built for; None for a build without CUDA.
        gpus: All that PyTorch sees.
        cuda_bindings: Version of the package, None if it is not installed.
        nvrtc: The compiler, None if there is none.
        nvrtc_problem: Why there is none.
        cache_folder: Where machine code is kept; None: nowhere.
        cache_writable: Whether more can be kept.
        modules: Number of modules that an architecture needs.
        compiled: Modules in the cache, fit for use, by architecture; every architecture of the compiler is a key.
        forced_backend: What NCLF_KERNEL_BACKEND names, None if it is not set.
    """

    torch: str
    torch_cuda: str | None
    gpus: tuple[GpuFacts, ...]
    cuda_bindings: str | None
    nvrtc: Nvrtc | None
    nvrtc_problem: str | None
    cache_folder: str | None
    cache_writable: bool
    modules: int
    compiled: dict[str, int]
    forced_backend: str | None


def take_inventory() -> Inventory:
    """Look at everything; loads the kernels on every GPU, which may compile them."""
    gpus = tuple(_gpu_facts(index) for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))
    nvrtc, problem = None, None
    try:
        nvrtc = find_nvrtc()
    except DeviceUnavailableError as error:
        problem = str(error)
    cache = CubinCache(cache_folder())
    return Inventory(
        torch=torch.__version__,
        torch_cuda=torch.version.cuda,
        gpus=gpus,
        cuda_bindings=_installed("cuda-bindings"),
        nvrtc=nvrtc,
        nvrtc_problem=problem,
        cache_folder=None if cache.folder is None else str(cache.folder),
        cache_writable=cache.is_writable(),
        modules=len(list(all_modules())),
        compiled=_compiled(cache, nvrtc),
        forced_backend=os.environ.get(BACKEND_VARIABLE),
    )


def all_modules() -> Iterator[tuple[str, Defines]]:
    """Yield the source and the constants of every module that one architecture needs."""
    for module in KERNEL_MODULES:
        for defines in module.defines:
            yield module.source, defines


def chosen_architectures(names: Sequence[str]) -> tuple[str, ...]:
    """Return the architectures that a user names, once each; "all" stands for every one of the compiler.

    Raises:
        UsageError: If one is unknown to the compiler.
        DeviceUnavailableError: If there is no compiler.
    """
    known = find_nvrtc().architectures
    if "all" in names:
        return known
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = ", ".join(unknown) or "none"
        raise UsageError(f'Expected architectures of {", ".join(known)}, or "all", got {found}.')
    return tuple(dict.fromkeys(names))


def build(architectures: Sequence[str], folder: Path | None) -> Iterator[tuple[str, bool]]:
    """Make sure that every module of the architectures is in a folder; yield each entry's name and if it was compiled.

    Args:
        architectures: Of `chosen_architectures`.
        folder: None takes the user's cache.

    Raises:
        DeviceUnavailableError: If the compiler is missing or refuses.
        OutputError: If the folder cannot be written.
    """
    cache = CubinCache(folder or cache_folder())
    if cache.folder is None:
        raise OutputError("This user has no home and so no cache. Name a folder with --out.")
    compiler = find_nvrtc().version
    for architecture in architectures:
        for source, defines in all_modules():
            name = entry_name(entry_prefix(source, defines, architecture), compiler)
            missing = cache.read(name) is None
            if missing:
                cubin = compile_module(source, defines, architecture).cubin
                try:
                    cache.write(name, cubin)
                except OSError as error:
                    raise OutputError(f"Cannot write {cache.folder / name}: {error.strerror or error}.") from error
            yield name, missing


def _gpu_facts(index: int) -> GpuFacts:
    device = torch.device("cuda", index)
    return GpuFacts(
        index=index,
        name=torch.cuda.get_device_name(device),
        capability="{}.{}".format(*torch.cuda.get_device_capability(device)),
        obstacle=device_obstacle(device),
    )


def _compiled(cache: CubinCache, nvrtc: Nvrtc | None) -> dict[str, int]:
    """Count the modules in the cache by architecture."""
    if nvrtc is not None:
        architectures = list(nvrtc.architectures)
    else:
        architectures = sorted({part for name in cache.names() for part in name.split("-") if part.startswith("sm_")})
    wanted = None if nvrtc is None else nvrtc.version
    return {
        architecture: sum(
            cache.find(entry_prefix(source, defines, architecture), wanted) is not None
            for source, defines in all_modules()
        )
        for architecture in architectures
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
