"""NVRTC compiles without a GPU; what is missing or wrong is said."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse import compiler

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '#include "scale.cuh"\nextern "C" __global__ void twice(float* x) { x[threadIdx.x] *= SCALE * FACTOR; }\n'

needs_nvrtc = pytest.mark.skipif(sys.platform == "darwin", reason="NVRTC is not made for macOS")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of kernels with one source and one header."""
    (tmp_path / "twice.cu").write_text(SOURCE)
    (tmp_path / "scale.cuh").write_text("#define SCALE 2.0f\n")
    monkeypatch.setattr(compiler, "KERNEL_FOLDER", tmp_path)
    return tmp_path


@needs_nvrtc
def test_the_compiler_is_found() -> None:
    """Path and version are known, and the architectures asked for by issue 3 are among its own."""
    found = compiler.find_nvrtc()
    assert "nvrtc" in found.path
    assert int(found.version.split(".")[0]) >= 13
    assert {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"} <= set(found.architectures)
    assert "sm_75" not in found.architectures


@needs_nvrtc
def test_a_source_becomes_machine_code() -> None:
    """The result is an ELF file; the header is found, the constant arrives, and the log has the registers."""
    module = compiler.compile_module("twice.cu", (("FACTOR", 3),), "sm_90")
    assert module.cubin.startswith(b"\x7fELF")
    assert ".entry twice(" in module.ptx
    assert "0f40C00000" in module.ptx  # 6.0f, the product of header and constant
    assert "Used" in module.log
    assert "registers" in module.log


@needs_nvrtc
def test_a_wrong_source_is_reported_with_the_log(folder: Path) -> None:
    """The error has compiler, source, architecture, and the line that is wrong."""
    (folder / "twice.cu").write_text(SOURCE.replace("threadIdx", "treadIdx"))
    with pytest.raises(DeviceUnavailableError) as failure:
        compiler.compile_module("twice.cu", (("FACTOR", 3),), "sm_90")
    message = str(failure.value)
    assert f"NVRTC {compiler.find_nvrtc().version}" in message
    assert "twice.cu for sm_90" in message
    assert 'twice.cu(2): error: identifier "treadIdx" is undefined' in message


@needs_nvrtc
def test_an_unknown_architecture_is_reported() -> None:
    """An old NVRTC on a new GPU says so."""
    with pytest.raises(DeviceUnavailableError, match="invalid value for --gpu-architecture"):
        compiler.compile_module("twice.cu", (("FACTOR", 3),), "sm_999")


def test_missing_bindings_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cuda-bindings the error says what to install."""
    compiler.find_nvrtc.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(DeviceUnavailableError, match=r'cuda-bindings cannot be imported .* pip install "nclforensics'):
        compiler.find_nvrtc()


@needs_nvrtc
def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With cuda-bindings but without NVRTC the error says what to install."""
    from cuda import pathfinder  # noqa: PLC0415 - absent on macOS

    def absent(_name: str) -> None:
        raise pathfinder.DynamicLibNotFoundError("no nvrtc here")

    compiler.find_nvrtc.cache_clear()
    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", absent)
    with pytest.raises(DeviceUnavailableError, match=r"NVRTC cannot be loaded \(no nvrtc here\)\. Install it with"):
        compiler.find_nvrtc()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((8, 0), "sm_80"), ((8, 7), "sm_86"), ((9, 0), "sm_90"), ((10, 3), "sm_100"), ((12, 1), "sm_120")],
)
def test_code_of_an_older_minor_version_serves(capability: tuple[int, int], expected: str) -> None:
    """A GPU that the compiler does not know runs the code of the nearest older one of its major version."""
    assert expected == compiler.architecture_for(capability, ["sm_80", "sm_86", "sm_90", "sm_100", "sm_120"])


def test_a_newer_major_version_is_no_substitute() -> None:
    """Machine code does not run on another major version."""
    with pytest.raises(DeviceUnavailableError, match=r"compute capability 11\.0: update"):
        compiler.architecture_for((11, 0), ["sm_90", "sm_100", "sm_120"])


def test_the_digest_covers_source_and_headers(folder: Path) -> None:
    """Changing either changes the digest; changing it back restores it."""
    before = compiler.source_digest("twice.cu")
    (folder / "scale.cuh").write_text("#define SCALE 3.0f\n")
    with_header = compiler.source_digest("twice.cu")
    (folder / "scale.cuh").write_text("#define SCALE 2.0f\n")
    assert before == compiler.source_digest("twice.cu")
    (folder / "twice.cu").write_text(SOURCE + "\n")
    assert len({before, with_header, compiler.source_digest("twice.cu")}) == 3
