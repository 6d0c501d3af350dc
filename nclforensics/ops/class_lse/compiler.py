"""Compiles the CUDA sources of this folder to the machine code of one GPU architecture, by NVRTC.

NVRTC needs no GPU, no CUDA toolkit and no host compiler. It comes with PyTorch's CUDA wheels, and elsewhere with
`pip install "nclforensics[cuda]"`. Nothing of CUDA is imported before it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nclforensics.errors import DeviceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.ops.class_lse.modules import Defines

KERNEL_FOLDER: Final = Path(__file__).with_name("kernels")
# bf16 tensor cores begin with compute capability 8.0.
OLDEST_ARCHITECTURE: Final = 80
# Line numbers cost no run time and let compute-sanitizer name the source line; the log of ptxas has the registers.
OPTIONS: Final = ("--std=c++17", "--generate-line-info", "--ptxas-options=--verbose")
INSTALL: Final = 'Install it with: pip install "nclforensics[cuda]"'

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Nvrtc:
    """The compiler that was found.

    Attributes:
        path: The shared library.
        version: Such as "13.5".
        architectures: The ones that it compiles for and that have bf16 tensor cores, such as "sm_90", oldest first.
    """

    path: str
    version: str
    architectures: tuple[str, ...]


@dataclass(frozen=True)
class CompiledModule:
    """What NVRTC made of one source.

    Attributes:
        cubin: Machine code, an ELF file.
        ptx: The assembly that it was made from.
        log: Registers, stack and shared memory of every kernel, and warnings.
    """

    cubin: bytes
    ptx: str
    log: str


@functools.cache
def find_nvrtc() -> Nvrtc:
    """Return the NVRTC of this environment, loaded.

    Raises:
        DeviceUnavailableError: If cuda-bindings or the library is missing, or is too old to name its architectures.
    """
    try:
        from cuda.bindings import nvrtc  # noqa: PLC0415 - absent where no GPU is used
        from cuda.pathfinder import load_nvidia_dynamic_lib  # noqa: PLC0415 - as above
    except ImportError as error:
        raise DeviceUnavailableError(f"The package cuda-bindings cannot be imported ({error}). {INSTALL}") from error
    try:
        path = load_nvidia_dynamic_lib("nvrtc").abs_path
        major, minor = _checked(nvrtc.nvrtcVersion())
        numbers = _checked(nvrtc.nvrtcGetSupportedArchs())
    except RuntimeError as error:  # of the path finder, of missing symbols, and of `_checked`
        raise DeviceUnavailableError(f"CUDA's compiler NVRTC cannot be loaded ({error}). {INSTALL}") from error
    architectures = tuple(f"sm_{number}" for number in sorted(numbers) if number >= OLDEST_ARCHITECTURE)
    _LOGGER.info("NVRTC %d.%d from %s", major, minor, path)
    return Nvrtc(str(path), f"{major}.{minor}", architectures)


def architecture_for(capability: tuple[int, int], known: Sequence[str]) -> str:
    """Return the architecture to compile for: the GPU's own, else the newest older one of its major version.

    Machine code runs on every later minor version of the same major version.

    Args:
        capability: Of the GPU, such as (9, 0).
        known: What the compiler knows, such as "sm_90".

    Raises:
        DeviceUnavailableError: If there is none.

    >>> architecture_for((8, 7), ["sm_80", "sm_86", "sm_90"])
    'sm_86'
    """
    major, minor = capability
    numbers = [int(name.removeprefix("sm_")) for name in known]
    usable = [number for number in numbers if number // 10 == major and number % 10 <= minor]
    if not usable:
        raise DeviceUnavailableError(
            f"NVRTC compiles for {', '.join(known)}, but this GPU has compute capability {major}.{minor}: "
            "update nvidia-cuda-nvrtc."
        )
    return f"sm_{max(usable)}"


def source_digest(source: str) -> str:
    """Return the SHA-256 of a source, of every header beside it, and of the options that all modules share."""
    digest = hashlib.sha256(repr(OPTIONS).encode())
    for path in (KERNEL_FOLDER / source, *_headers()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def compile_module(source: str, defines: Defines, architecture: str) -> CompiledModule:
    """Compile one source.

    Args:
        source: File name in the kernels folder.
        defines: Compile-time constants, such as ("DIM", 128).
        architecture: Such as "sm_90".

    Raises:
        DeviceUnavailableError: If NVRTC is missing or refuses; the message ends with the compiler's log.
    """
    compiler = find_nvrtc()
    from cuda.bindings import nvrtc  # noqa: PLC0415 - absent where no GPU is used

    headers = _headers()
    contents, names = [path.read_bytes() for path in headers], [path.name.encode() for path in headers]
    text = (KERNEL_FOLDER / source).read_bytes()
    program = _checked(nvrtc.nvrtcCreateProgram(text, source.encode(), len(headers), contents, names))
    options = [*OPTIONS, f"--gpu-architecture={architecture}", *(f"-D{name}={value}" for name, value in defines)]
    try:
        (result,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        if result:
            raise DeviceUnavailableError(
                f"NVRTC {compiler.version} ({compiler.path}) cannot compile {source} for {architecture} "
                f"with {' '.join(options)}: {_name(result)}\n{log}"
            )
        cubin = _output(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        return CompiledModule(cubin, _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program), log)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _headers() -> list[Path]:
    return sorted(KERNEL_FOLDER.glob("*.cuh"))


def _text(size: Any, read: Any, program: Any) -> str:  # noqa: ANN401 - functions of a package without types
    return _output(size, read, program).rstrip(b"\0").decode(errors="replace").strip()


def _output(size: Any, read: Any, program: Any) -> bytes:  # noqa: ANN401 - functions of a package without types
    buffer = bytearray(_checked(size(program)))
    _checked(read(program, buffer))
    return bytes(buffer)


def _checked(answer: tuple[Any, ...]) -> Any:  # noqa: ANN401 - what the functions of NVRTC return
    """Return what follows the result code of an NVRTC call: nothing, one value, or a tuple."""
    result, *values = answer
    if result:
        raise DeviceUnavailableError(f"NVRTC failed: {_name(result)}.")
    return values[0] if len(values) == 1 else tuple(values)


def _name(result: Any) -> str:  # noqa: ANN401 - an enumeration of a package without types
    return str(getattr(result, "name", result))
