"""What the launcher tells the driver, with a driver that only takes notes; test_gpu.py has the real one."""

# ruff: noqa: D102, N802 - the functions are named and described by the driver

from __future__ import annotations

import ctypes
import enum
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse import driver as driver_module
from nclforensics.ops.class_lse.compiler import Nvrtc
from nclforensics.ops.class_lse.driver import GpuLauncher, architecture_of
from nclforensics.ops.class_lse.launch import Launch
from nclforensics.ops.class_lse.modules import KERNEL_MODULES, TILE_SHAPES

KERNEL, DEFINES, STREAM = "class_lse_forward", TILE_SHAPES[0].defines, 77


class Result(enum.IntEnum):
    """The driver's result codes that occur here, with their true numbers."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701


class NotingDriver:
    """Has the functions of `cuda.bindings.driver` that the launcher uses; does nothing but note the calls."""

    CUresult = Result
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")
    CUfunction = CUstream = staticmethod(int)

    def __init__(self, *, context: int = 5) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refused: dict[str, Result] = {}
        self.context = context

    def count(self, name: str) -> int:
        """Return how often a function was called."""
        return sum(call[0] == name for call in self.calls)

    def _note(self, name: str, *arguments: Any) -> Result:  # noqa: ANN401 - arguments of any type
        self.calls.append((name, *arguments))
        return self.refused.get(name, Result.CUDA_SUCCESS)

    def cuGetErrorString(self, _result: Result) -> tuple[Result, bytes]:
        return Result.CUDA_SUCCESS, b"too much of it"

    def cuCtxGetCurrent(self) -> tuple[Result, int]:
        return self._note("cuCtxGetCurrent"), self.context

    def cuDeviceGet(self, index: int | None) -> tuple[Result, str]:
        return self._note("cuDeviceGet", index), "device"

    def cuDevicePrimaryCtxRetain(self, device: str) -> tuple[Result, int]:
        return self._note("cuDevicePrimaryCtxRetain", device), 9

    def cuCtxSetCurrent(self, context: int) -> tuple[Result]:
        self.context = context
        return (self._note("cuCtxSetCurrent", context),)

    def cuLibraryLoadData(self, code: bytes, *_: object) -> tuple[Result, str]:
        return self._note("cuLibraryLoadData", code), "library"

    def cuLibraryGetKernel(self, library: str, name: bytes) -> tuple[Result, int]:
        return self._note("cuLibraryGetKernel", library, name), 1234

    def cuKernelSetAttribute(self, *arguments: Any) -> tuple[Result]:  # noqa: ANN401 - arguments of any type
        return (self._note("cuKernelSetAttribute", *arguments),)

    def cuLaunchKernel(self, *arguments: Any) -> tuple[Result]:  # noqa: ANN401 - arguments of any type
        """Note what lies behind the pointers now, since it need not be there later."""
        *sizes_and_stream, pointers, _extra = arguments
        addresses = (ctypes.c_void_p * 4).from_address(pointers)
        kinds: tuple[Any, ...] = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_float)
        values = [kind.from_address(address or 0).value for kind, address in zip(kinds, addresses, strict=True)]
        return (self._note("cuLaunchKernel", *sizes_and_stream, values),)


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let tensors on the CPU pass for tensors on a GPU; return what is asked of the cache."""
    asked: list[tuple[Any, ...]] = []

    def load(*request: Any) -> bytes:  # noqa: ANN401 - arguments of any type
        asked.append(request)
        return b"code"

    monkeypatch.setattr(driver_module, "load_cubin", load)
    monkeypatch.setattr(driver_module, "architecture_of", lambda _device: "sm_90")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: SimpleNamespace(cuda_stream=STREAM))
    return asked


def launch_of(tensor: torch.Tensor, *, shared_bytes: int = 1024) -> Launch:
    """Return a launch with one argument of each kind."""
    return Launch(KERNEL, DEFINES, (3, 2, 1), 128, shared_bytes, (tensor, None, -5, 0.25))


def test_a_launch_arrives_as_it_was_described(loads: list[tuple[Any, ...]]) -> None:
    """Code, sizes, the current stream, and every argument in the kernel's own type and order."""
    api, tensor = NotingDriver(), torch.zeros(4)
    GpuLauncher(api)(launch_of(tensor))
    assert loads == [("class_lse.cu", DEFINES, "sm_90")]
    assert ("cuLibraryLoadData", b"code") in api.calls
    assert ("cuLibraryGetKernel", "library", KERNEL.encode()) in api.calls
    assert api.calls[-1] == (
        "cuLaunchKernel",
        1234,
        3,
        2,
        1,
        128,
        1,
        1,
        1024,
        STREAM,
        [tensor.data_ptr(), None, -5, 0.25],
    )


def test_code_is_loaded_once() -> None:
    """However many threads launch at once, and two kernels of one module share it."""
    api = NotingDriver()
    launcher = GpuLauncher(api)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: launcher(launch_of(torch.zeros(1))), range(64)))
    launcher(Launch("class_lse_backward", *list(vars(launch_of(torch.zeros(1))).values())[1:]))
    assert api.count("cuLaunchKernel") == 65
    assert api.count("cuLibraryLoadData") == 1
    assert api.count("cuLibraryGetKernel") == 2


def test_large_shared_memory_is_asked_for() -> None:
    """Beyond 48 KiB, once, and again only for more."""
    api = NotingDriver()
    launcher = GpuLauncher(api)
    for kib in (48, 64, 64, 50, 96):
        launcher(launch_of(torch.zeros(1), shared_bytes=kib * 1024))
    asked = [call[1:] for call in api.calls if call[0] == "cuKernelSetAttribute"]
    assert asked == [("shared", kib * 1024, 1234, "device") for kib in (64, 96)]


def test_a_thread_without_a_context_gets_pytorchs() -> None:
    """A thread of autograd that never touched the device; one that did is left alone."""
    fresh, used = NotingDriver(context=0), NotingDriver(context=5)
    for api in (fresh, used):
        GpuLauncher(api)(launch_of(torch.zeros(1)))
    assert fresh.context == 9
    assert used.count("cuCtxSetCurrent") == 0


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("cuLibraryLoadData", Result.CUDA_ERROR_NO_BINARY_FOR_GPU),
        ("cuLaunchKernel", Result.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
    ],
)
def test_a_refusal_names_function_and_error(name: str, result: Result) -> None:
    """The driver's own name for the error is in the message."""
    api = NotingDriver()
    api.refused[name] = result
    with pytest.raises(DeviceUnavailableError, match=rf"refused {name}: {result.name}, too much of it"):
        GpuLauncher(api)(launch_of(torch.zeros(1)))


def test_a_failed_load_is_tried_again() -> None:
    """What was refused once, for want of memory perhaps, is not remembered as loaded."""
    api = NotingDriver()
    launcher = GpuLauncher(api)
    api.refused["cuLibraryLoadData"] = Result.CUDA_ERROR_NO_BINARY_FOR_GPU
    with pytest.raises(DeviceUnavailableError):
        launcher(launch_of(torch.zeros(1)))
    api.refused.clear()
    launcher(launch_of(torch.zeros(1)))
    assert api.count("cuLaunchKernel") == 1


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_integers_that_do_not_fit_are_our_own_mistake(number: int) -> None:
    """A kernel's int has 32 bits: a larger number must not wrap in silence."""
    launch = Launch(KERNEL, DEFINES, (1, 1, 1), 32, 0, (torch.zeros(1), None, number, 0.0))
    with pytest.raises(AssertionError):
        GpuLauncher(NotingDriver())(launch)


def test_strided_tensors_are_our_own_mistake() -> None:
    """A kernel sees a pointer only."""
    with pytest.raises(AssertionError):
        GpuLauncher(NotingDriver())(launch_of(torch.zeros(4)[::2]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA driver")
def test_a_missing_driver_is_reported() -> None:
    """The real package, on a machine without an NVIDIA driver."""
    pytest.importorskip("cuda.bindings.driver")
    with pytest.raises(DeviceUnavailableError, match="NVIDIA driver"):
        GpuLauncher()(launch_of(torch.zeros(1)))


def test_every_kernel_has_one_module() -> None:
    """A launch names its kernel only, so that the name must tell the source."""
    names = [kernel for module in KERNEL_MODULES for kernel in module.kernels]
    assert len(names) == len(set(names))


def test_the_architecture_is_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler the best that it knows, without one the GPU's own."""

    def missing() -> Nvrtc:
        raise DeviceUnavailableError("No compiler.")

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 9))
    monkeypatch.setattr(driver_module, "find_nvrtc", lambda: Nvrtc("libnvrtc.so", "13.0", ("sm_80", "sm_86")))
    assert architecture_of(torch.device("cuda", 0)) == "sm_86"
    monkeypatch.setattr(driver_module, "find_nvrtc", missing)
    assert architecture_of(torch.device("cuda", 0)) == "sm_89"
