"""Every kernel compiles for every architecture that issue 3 names, without spilling and within the GPU's limits.

This needs the compiler but no GPU. The numbers that the kernels compute are checked by the emulator's tests and by
test_gpu.py.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import pytest

from nclforensics.ops.class_lse.compiler import CompiledModule, compile_module
from nclforensics.ops.class_lse.inventory import all_modules
from nclforensics.ops.class_lse.modules import KERNEL_MODULES, TILE_SHAPES, Defines

# Shared memory that one block may have, in KiB: CUDA C++ Programming Guide, "Technical specifications per compute
# capability".
SHARED_KIB = {"sm_80": 163, "sm_86": 99, "sm_89": 99, "sm_90": 227, "sm_100": 227, "sm_120": 99}
REGISTERS_PER_BLOCK = 65536
# The most float32 values that a kernel streams beside a key.
MOST_COLUMNS = 2

CASES = [(source, defines, arch) for arch in SHARED_KIB for source, defines in all_modules()]

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="NVRTC is not made for macOS")


@dataclass(frozen=True)
class Resources:
    """What ptxas says about one kernel."""

    registers: int
    stack: int
    spills: int
    static_shared: int


def resources_of(log: str) -> dict[str, Resources]:
    """Return the resources of every kernel in a log of ptxas."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        patterns = (r"Used (\d+) registers", r"(\d+) bytes stack frame", r"(\d+) bytes spill", r"(\d+) bytes smem")
        numbers = [sum(int(number) for number in re.findall(pattern, part)) for pattern in patterns]
        found[part.partition("'")[0]] = Resources(*numbers)
    return found


def threads_of(kernel: str, defines: Defines) -> int:
    """Return the threads that a block of a kernel has."""
    shape = next((shape for shape in TILE_SHAPES if shape.defines == defines), None)
    if shape is None:
        return 1024
    return shape.backward_threads if kernel.endswith("backward") else shape.forward_threads


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[2]}-{case[0]}-{dict(case[1]).get('DIM', '')}")
def case(request: pytest.FixtureRequest) -> tuple[str, Defines, str, CompiledModule]:
    """Return source, constants and architecture of one module, and what the compiler made of it."""
    source, defines, architecture = request.param
    return source, defines, architecture, compile_module(source, defines, architecture)


def test_module_fits_the_gpu(case: tuple[str, Defines, str, CompiledModule]) -> None:
    """No stack and no spill; registers and shared memory are what a block can have."""
    source, defines, architecture, module = case
    (kernels,) = (item.kernels for item in KERNEL_MODULES if item.source == source)
    resources = resources_of(module.log)
    assert set(kernels) == set(resources)
    shape = next((shape for shape in TILE_SHAPES if shape.defines == defines), None)
    dynamic = shape.shared_bytes(MOST_COLUMNS) if shape else 0
    for name, used in resources.items():
        assert (used.stack, used.spills) == (0, 0), name
        assert used.registers * threads_of(name, defines) <= REGISTERS_PER_BLOCK, name
        assert dynamic + used.static_shared <= SHARED_KIB[architecture] * 1024, name


def test_module_uses_the_tensor_cores(case: tuple[str, Defines, str, CompiledModule]) -> None:
    """Kernels over pairs multiply with bf16 tensor-core instructions and bring keys by asynchronous copies."""
    _source, defines, _architecture, module = case
    instructions = ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "ldmatrix.sync", "cp.async.cg")
    expected = bool(dict(defines).get("DIM"))
    assert [instruction in module.ptx for instruction in instructions] == [expected] * 3


def test_the_log_is_understood() -> None:
    """Numbers of two kernels, one of which spills."""
    log = (
        "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'a' for 'sm_90'\n"
        "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 255 registers, used 1 barriers, 64 bytes smem\n"
        "ptxas info    : Compiling entry function 'b' for 'sm_90'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 14 registers, used 0 barriers\n"
    )
    assert {"a": Resources(255, 8, 16, 64), "b": Resources(14, 0, 0, 0)} == resources_of(log)
