"""The cache never changes what runs, whatever is in its folder and whoever else uses it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import stat
import sys
from pathlib import Path

import pytest

from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse import cubin_cache
from nclforensics.ops.class_lse.compiler import CompiledModule, Nvrtc
from nclforensics.ops.class_lse.cubin_cache import CubinCache, cache_folder, entry_name, entry_prefix, load_cubin

SOURCE, DEFINES = "class_lse.cu", (("DIM", 64),)
NAME = "kernel.cubin"


class FakeCompiler:
    """Stands in for NVRTC: counts its calls, and its code says what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.version = "13.0"
        self.digest = "d"
        self.missing = False
        monkeypatch.setattr(cubin_cache, "find_nvrtc", self.find)
        monkeypatch.setattr(cubin_cache, "compile_module", self.compile)
        monkeypatch.setattr(cubin_cache, "source_digest", lambda _source: self.digest)

    def find(self) -> Nvrtc:
        """Return the compiler, unless it is missing."""
        if self.missing:
            raise DeviceUnavailableError("No compiler.")
        return Nvrtc("libnvrtc.so", self.version, ("sm_80", "sm_90"))

    def compile(self, source: str, defines: object, architecture: str) -> CompiledModule:
        """Return code that names its origin."""
        self.calls += 1
        return CompiledModule(f"{source} {defines} {architecture} {self.version} {self.digest}".encode(), "", "")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    """Return a fake compiler in the place of NVRTC."""
    return FakeCompiler(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the cache, which does not exist yet."""
    monkeypatch.setenv(cubin_cache.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_module_is_compiled_once(compiler: FakeCompiler, folder: Path) -> None:
    """The second time the code comes from the folder."""
    first = load_cubin(SOURCE, DEFINES, "sm_90")
    assert first == load_cubin(SOURCE, DEFINES, "sm_90")
    assert compiler.calls == 1
    assert [path.suffix for path in folder.iterdir()] == [".cubin"]


@pytest.mark.parametrize("change", ["version", "digest", "architecture", "defines", "source"])
def test_everything_that_matters_is_in_the_key(compiler: FakeCompiler, folder: Path, change: str) -> None:
    """Another compiler, source, header, option, constant or architecture is another entry; the old one stays."""
    request = {"source": SOURCE, "defines": DEFINES, "architecture": "sm_90"}
    before = load_cubin(**request)  # type: ignore[arg-type]
    if change in request:
        request[change] = {"architecture": "sm_80", "defines": (("DIM", 128),), "source": "pack.cu"}[change]
    else:
        setattr(compiler, change, "13.1")
    after = load_cubin(**request)  # type: ignore[arg-type]
    assert before != after
    assert compiler.calls == len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"short", None], ids=["empty", "short", "one bit"])
def test_a_damaged_entry_is_compiled_again(compiler: FakeCompiler, folder: Path, damage: bytes | None) -> None:
    """What was cut short or changed is never run, and is replaced."""
    code = load_cubin(SOURCE, DEFINES, "sm_90")
    (entry,) = folder.iterdir()
    content = bytearray(entry.read_bytes())
    content[3] ^= 1
    entry.write_bytes(bytes(content) if damage is None else damage)
    assert code == load_cubin(SOURCE, DEFINES, "sm_90") == load_cubin(SOURCE, DEFINES, "sm_90")
    assert compiler.calls == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_others_may_read_and_none_but_the_owner_write(tmp_path: Path) -> None:
    """A cache that an administrator builds serves every user, whatever the umask lets a group do."""
    before = os.umask(0o002)
    try:
        CubinCache(tmp_path / "made").write(NAME, b"code")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made", tmp_path / "made" / NAME)]
    assert modes == [0o755, 0o644]


def test_every_truncation_is_seen(tmp_path: Path) -> None:
    """No prefix of an entry passes for one."""
    cache = CubinCache(tmp_path)
    cache.write(NAME, b"machine code")
    content = (tmp_path / NAME).read_bytes()
    for length in range(len(content)):
        (tmp_path / NAME).write_bytes(content[:length])
        assert cache.read(NAME) is None


@pytest.mark.parametrize("obstacle", ["a file in its place", "a folder in the entry's place", "no folder at all"])
def test_a_folder_that_cannot_be_used_is_no_error(
    compiler: FakeCompiler, folder: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """The code is compiled each time, and nothing is raised."""
    if obstacle == "a file in its place":
        folder.write_text("")
    elif obstacle == "no folder at all":
        monkeypatch.setattr(cubin_cache, "cache_folder", lambda: None)
    else:
        (folder / entry_name(entry_prefix(SOURCE, DEFINES, "sm_90"), compiler.version)).mkdir(parents=True)
    assert load_cubin(SOURCE, DEFINES, "sm_90") == load_cubin(SOURCE, DEFINES, "sm_90")
    assert compiler.calls == 2


def test_an_unwritable_folder_is_said_once(
    compiler: FakeCompiler, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the folder, not once a module but once."""
    folder.write_text("")
    with caplog.at_level(logging.WARNING):
        for architecture in ("sm_80", "sm_90"):
            load_cubin(SOURCE, DEFINES, architecture)
    assert compiler.calls == 2
    assert [str(folder) in message for message in caplog.messages] == [True]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """The temporary file is removed."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match=NAME):
        CubinCache(tmp_path).write(NAME, b"code")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_without_a_compiler_any_version_serves(compiler: FakeCompiler, folder: Path) -> None:
    """An air-gapped machine takes the newest entry that is whole, and 13.10 is newer than 13.9."""
    codes = []
    for compiler.version in ("13.9", "13.10", "13.11"):
        codes.append(load_cubin(SOURCE, DEFINES, "sm_90"))
    compiler.missing = True
    assert codes[2] == load_cubin(SOURCE, DEFINES, "sm_90")
    (folder / entry_name(entry_prefix(SOURCE, DEFINES, "sm_90"), "13.11")).write_bytes(b"")
    assert codes[1] == load_cubin(SOURCE, DEFINES, "sm_90")


@pytest.mark.usefixtures("folder")
def test_without_compiler_and_entry_the_reason_is_the_compiler(compiler: FakeCompiler) -> None:
    """What to do is to install one."""
    load_cubin(SOURCE, DEFINES, "sm_80")
    compiler.missing = True
    with pytest.raises(DeviceUnavailableError, match="No compiler"):
        load_cubin(SOURCE, DEFINES, "sm_90")


def _write_and_read(folder: Path, code: bytes) -> bool:
    """Replace one entry many times; return whether every reading of it was one of the two that are written."""
    cache, whole = CubinCache(folder), True
    for _ in range(100):
        cache.write(NAME, code)
        whole = whole and cache.read(NAME) in {b"a" * 100_000, b"b" * 100_000}
    return whole


def test_processes_may_write_at_once(tmp_path: Path) -> None:
    """Whoever comes last wins; nobody reads a part, and no temporary file stays."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        wholes = pool.starmap(_write_and_read, [(tmp_path, b"a" * 100_000), (tmp_path, b"b" * 100_000)])
    assert wholes == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable decides, then the system's cache folder, then the one below home."""
    monkeypatch.setenv(cubin_cache.CACHE_VARIABLE, str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv(cubin_cache.CACHE_VARIABLE)
    system = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    monkeypatch.setenv(system, str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "nclforensics" / "kernels"
    monkeypatch.setenv(system, "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache_folder() == tmp_path / "home" / ".cache" / "nclforensics" / "kernels"


def test_a_user_without_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a bare number."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in (cubin_cache.CACHE_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    assert CubinCache(None).names() == []
    assert not CubinCache(None).is_writable()


def test_writability_is_told_without_writing(tmp_path: Path) -> None:
    """A folder that does not exist yet counts if it could be made; a file in its place does not."""
    assert CubinCache(tmp_path / "a" / "b").is_writable()
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert not CubinCache(tmp_path / "file").is_writable()
    assert not CubinCache(tmp_path / "file" / "below").is_writable()
