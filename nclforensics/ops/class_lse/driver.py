"""Runs kernels on NVIDIA GPUs through the driver API: loads their machine code once a device, and launches."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse.compiler import INSTALL, architecture_for, find_nvrtc
from nclforensics.ops.class_lse.cubin_cache import load_cubin
from nclforensics.ops.class_lse.modules import KERNEL_MODULES

if TYPE_CHECKING:
    from nclforensics.ops.class_lse.launch import Argument, Launch
    from nclforensics.ops.class_lse.modules import Defines

# More dynamic shared memory than this has to be asked for, kernel by kernel.
DEFAULT_SHARED_BYTES: Final = 48 * 1024

_SOURCES: Final = {kernel: module.source for module in KERNEL_MODULES for kernel in module.kernels}


@dataclass
class _LoadedKernel:
    """A kernel on one device, and the dynamic shared memory that it may use there so far."""

    handle: Any
    shared_bytes: int = DEFAULT_SHARED_BYTES


class GpuLauncher:
    """A `Launcher` for the GPU that holds the tensors, on the stream that is current there; safe in many threads.

    Args:
        driver: Module with the functions of `cuda.bindings.driver`; None imports it at the first use.
    """

    def __init__(self, driver: Any = None) -> None:  # noqa: ANN401 - a package without types
        self._driver = driver
        self._libraries: dict[tuple[str, Defines, str], Any] = {}
        self._kernels: dict[tuple[str, Defines, int], _LoadedKernel] = {}
        self._lock = threading.Lock()

    def __call__(self, launch: Launch) -> None:
        """Start a kernel and return without waiting for it.

        Raises:
            DeviceUnavailableError: If its code cannot be compiled or loaded, or the driver refuses the launch.
        """
        tensors = [argument for argument in launch.arguments if isinstance(argument, torch.Tensor)]
        (device,) = {tensor.device for tensor in tensors}
        assert all(tensor.is_contiguous() for tensor in tensors), launch.kernel
        with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]  # torch ships this one without types
            kernel = self._loaded(launch, device)
            values, pointers = _packed(launch.arguments)
            driver = self._api()
            stream = driver.CUstream(torch.cuda.current_stream(device).cuda_stream)
            function = driver.CUfunction(int(kernel.handle))
            sizes = (*launch.grid, launch.block, 1, 1, launch.shared_bytes)
            self._call("cuLaunchKernel", function, *sizes, stream, ctypes.addressof(pointers), 0)
            del values  # alive until here: the driver copies what `pointers` points to

    def load(self, kernel: str, defines: Defines, device: torch.device) -> None:
        """Load a kernel without running it, so that what is missing or does not fit shows before it is needed.

        Raises:
            DeviceUnavailableError: As `__call__`.
        """
        with torch.cuda.device(device), self._lock:
            self._kernel(kernel, defines, device)

    def _loaded(self, launch: Launch, device: torch.device) -> _LoadedKernel:
        """Return the launch's kernel, allowed to use the shared memory that it asks for."""
        with self._lock:
            kernel = self._kernel(launch.kernel, launch.defines, device)
            if launch.shared_bytes > kernel.shared_bytes:
                driver = self._api()
                attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                ordinal = self._call("cuDeviceGet", device.index)
                self._call("cuKernelSetAttribute", attribute, launch.shared_bytes, kernel.handle, ordinal)
                kernel.shared_bytes = launch.shared_bytes
            return kernel

    def _kernel(self, kernel: str, defines: Defines, device: torch.device) -> _LoadedKernel:
        # In every thread, loaded or not: a thread of autograd may not have used the device before.
        self._enter_context(device)
        key = kernel, defines, device.index
        if key not in self._kernels:
            library = self._library(_SOURCES[kernel], defines, device)
            self._kernels[key] = _LoadedKernel(self._call("cuLibraryGetKernel", library, kernel.encode()))
        return self._kernels[key]

    def _library(self, source: str, defines: Defines, device: torch.device) -> Any:  # noqa: ANN401 - a handle
        architecture = architecture_of(device)
        key = source, defines, architecture
        if key not in self._libraries:
            cubin = load_cubin(source, defines, architecture)
            self._libraries[key] = self._call("cuLibraryLoadData", cubin, [], [], 0, [], [], 0)
        return self._libraries[key]

    def _enter_context(self, device: torch.device) -> None:
        """Make PyTorch's context of the device current in this thread, as a call of the CUDA runtime would."""
        if not int(self._call("cuCtxGetCurrent")):
            context = self._call("cuDevicePrimaryCtxRetain", self._call("cuDeviceGet", device.index))
            self._call("cuCtxSetCurrent", context)

    def _api(self) -> Any:  # noqa: ANN401 - a package without types
        if self._driver is None:
            try:
                from cuda.bindings import driver  # noqa: PLC0415 - absent where no GPU is used
            except ImportError as error:
                raise DeviceUnavailableError(
                    f"The package cuda-bindings cannot be imported ({error}). {INSTALL}"
                ) from error
            self._driver = driver
        return self._driver

    def _call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - functions of a package without types
        """Call a function of the driver and return its value, if it has one.

        Raises:
            DeviceUnavailableError: If the driver is missing, or answers with an error; the message names it.
        """
        driver = self._api()
        try:
            result, *values = getattr(driver, name)(*arguments)
        except RuntimeError as error:  # no libcuda, or one without this function
            raise DeviceUnavailableError(f"The NVIDIA driver has no {name} ({error}). Update the driver.") from error
        if result != driver.CUresult.CUDA_SUCCESS:
            _, text = driver.cuGetErrorString(result)
            said = text.decode() if text else "no explanation"
            raise DeviceUnavailableError(f"The NVIDIA driver refused {name}: {result.name}, {said}.")
        return values[0] if values else None


def architecture_of(device: torch.device) -> str:
    """Return the architecture to compile for on this device, such as "sm_90".

    Raises:
        DeviceUnavailableError: If NVRTC is there but knows none that the GPU runs.
    """
    capability = torch.cuda.get_device_capability(device)
    try:
        known = find_nvrtc().architectures
    except DeviceUnavailableError:
        # Without a compiler the cache decides, and it was filled for the exact architecture.
        return "sm_{}{}".format(*capability)
    return architecture_for(capability, known)


def _packed(arguments: tuple[Argument, ...]) -> tuple[list[ctypes._SimpleCData[Any]], ctypes.Array[ctypes.c_void_p]]:
    """Return the arguments as C values, and the array of their addresses that the driver reads."""
    values: list[ctypes._SimpleCData[Any]] = []
    for argument in arguments:
        if argument is None or isinstance(argument, torch.Tensor):
            values.append(ctypes.c_void_p(None if argument is None else argument.data_ptr()))
        elif isinstance(argument, int):
            assert -(2**31) <= argument < 2**31, argument
            values.append(ctypes.c_int32(argument))
        else:
            values.append(ctypes.c_float(argument))
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    return values, pointers


launch_on_gpu: Final = GpuLauncher()
