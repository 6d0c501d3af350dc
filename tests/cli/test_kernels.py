"""`nclf kernels`: what it says and what it leaves on disk; the compiler itself is tested in tests/ops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nclforensics.cli.app import main
from nclforensics.cli.kernels import printable_lines
from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse import inventory
from nclforensics.ops.class_lse.compiler import CompiledModule, Nvrtc
from nclforensics.ops.class_lse.cubin_cache import CACHE_VARIABLE, CubinCache
from nclforensics.ops.class_lse.inventory import GpuFacts, Inventory, all_modules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GPU = GpuFacts(index=0, name="Test GPU", capability="9.0", obstacle=None)
OLD_GPU = GpuFacts(index=1, name="Old GPU", capability="7.5", obstacle="bfloat16 needs 8.0.")


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Work with an empty cache and a compiler that only notes what it is asked for; return its notes."""
    notes: list[str] = []

    def compile_module(source: str, defines: object, architecture: str) -> CompiledModule:
        notes.append(f"{source} {defines} {architecture}")
        return CompiledModule(notes[-1].encode(), "", "")

    monkeypatch.setattr(inventory, "find_nvrtc", lambda: Nvrtc("/lib/libnvrtc.so", "13.0", ("sm_80", "sm_90")))
    monkeypatch.setattr(inventory, "compile_module", compile_module)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return notes


@pytest.fixture
def nclf(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and gives its exit code, stdout and stderr."""

    def run(*argv: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["kernels", *map(str, argv)])
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out, captured.err

    return run


def test_build_fills_a_folder(nclf: Callable[..., tuple[int, str, str]], compiled: list[str], tmp_path: Path) -> None:
    """Every module of every architecture named, listed on stdout; nothing goes to the user's cache."""
    code, out, err = nclf("build", "--arch", "sm_90", "--arch", "sm_80", "--arch", "sm_90", "--out", tmp_path / "out")
    modules = 2 * len(list(all_modules()))
    assert (code, len(compiled)) == (0, modules)
    assert sorted(out.splitlines()) == sorted(CubinCache(tmp_path / "out").names())
    assert f"{modules} modules compiled, 0 were there." in err
    assert not (tmp_path / "cache").exists()


def test_build_compiles_only_what_is_missing(nclf: Callable[..., tuple[int, str, str]], compiled: list[str]) -> None:
    """A second call finds all modules in the cache, and "all" adds those of the other architecture."""
    nclf("build", "--arch", "sm_80")
    once = len(compiled)
    assert "0 modules compiled" in nclf("build", "--arch", "sm_80")[2]
    nclf("build", "--arch", "all")
    assert len(compiled) == 2 * once


@pytest.mark.parametrize("names", [["sm_75"], ["sm_90", "hopper"], ["sm_90a"]])
def test_build_refuses_unknown_architectures(nclf: Callable[..., tuple[int, str, str]], names: list[str]) -> None:
    """The message lists the known ones; nothing is compiled."""
    code, out, err = nclf("build", *(word for name in names for word in ("--arch", name)))
    assert (code, out) == (2, "")
    assert f'Expected architectures of sm_80, sm_90, or "all", got {names[-1]}.' in err


def test_build_reports_a_folder_that_cannot_be_written(
    nclf: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Unlike a training run, which does without the cache, a build without a result has failed: exit code 19."""
    (tmp_path / "file").write_text("")
    code, _out, err = nclf("build", "--arch", "sm_90", "--out", tmp_path / "file")
    assert code == 19
    assert f"Cannot write {tmp_path / 'file'}" in err


def test_build_needs_a_compiler(nclf: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 16 and what to install."""

    def missing() -> Nvrtc:
        raise DeviceUnavailableError("No compiler, install one.")

    monkeypatch.setattr(inventory, "find_nvrtc", missing)
    assert nclf("build", "--arch", "sm_90") == (16, "", "nclf: No compiler, install one.\n")


def test_info_counts_whole_architectures(nclf: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """After a build of one of two architectures; a damaged entry does not count."""
    nclf("build", "--arch", "sm_90")
    code, out, err = nclf("info", "--json")
    facts = json.loads(out)
    modules = len(list(all_modules()))
    assert (code, err) == (0, "")
    assert facts["compiled"] == {"sm_80": 0, "sm_90": modules}
    assert facts["nvrtc"]["version"] == "13.0"
    assert (facts["cache_folder"], facts["cache_writable"]) == (str(tmp_path / "cache"), True)
    next((tmp_path / "cache").iterdir()).write_bytes(b"")
    assert json.loads(nclf("info", "--json")[1])["compiled"]["sm_90"] == modules - 1


def test_info_without_a_compiler_shows_the_cache(
    nclf: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The air-gapped machine: what was built elsewhere is there, and the reason for the rest."""
    nclf("build", "--arch", "sm_90")

    def missing() -> Nvrtc:
        raise DeviceUnavailableError("No compiler.")

    monkeypatch.setattr(inventory, "find_nvrtc", missing)
    lines = nclf("info")[1].splitlines()
    assert "NVRTC          No compiler." in lines
    assert "compiled       sm_90" in lines


@pytest.mark.parametrize(
    ("gpus", "forced", "expected"),
    [
        ((), None, "torch, on every device"),
        ((OLD_GPU,), None, "torch, on every device"),
        ((OLD_GPU, GPU), None, "the CUDA kernels in training with --precision bf16"),
        ((GPU,), "torch", "torch, because NCLF_KERNEL_BACKEND says so"),
        ((OLD_GPU,), "cuda", "nothing: NCLF_KERNEL_BACKEND asks for the kernels"),
        ((GPU,), "cuda", "the CUDA kernels, because NCLF_KERNEL_BACKEND says so"),
        ((GPU,), "", "the CUDA kernels in training with --precision bf16"),
        ((GPU,), "auto", "the CUDA kernels in training with --precision bf16"),
        ((GPU,), "gpu", "nothing: NCLF_KERNEL_BACKEND must be"),
        ((), "gpu", "nothing: NCLF_KERNEL_BACKEND must be"),
    ],
    ids=[
        *("no GPU", "old GPU", "good GPU", "forced torch", "forced cuda", "forced cuda on a good GPU"),
        *("empty", "auto", "misspelt", "misspelt without a GPU"),
    ],
)
def test_info_says_what_would_be_used(gpus: tuple[GpuFacts, ...], forced: str | None, expected: str) -> None:
    """The last line is the verdict; each GPU has a line with its reason."""
    facts = Inventory(
        torch="2.13.0",
        torch_cuda="13.0",
        gpus=gpus,
        cuda_bindings="13.5.0",
        nvrtc=None,
        nvrtc_problem="none",
        cache_folder=None,
        cache_writable=False,
        modules=7,
        compiled={},
        forced_backend=forced,
    )
    lines = printable_lines(facts).splitlines()
    assert lines[-1].startswith(f"used           {expected}")
    assert [line for line in lines if line.startswith("GPU 1")] == [
        "GPU 1          Old GPU, compute capability 7.5; no kernels: bfloat16 needs 8.0."
        for gpu in gpus
        if gpu == OLD_GPU
    ]
