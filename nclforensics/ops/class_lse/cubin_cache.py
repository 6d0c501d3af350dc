"""Compiled kernels on disk, so that a GPU's first call compiles once and an air-gapped machine never has to.

An entry's name says what it is made of: source, constants, architecture, a digest of these with the text of the source,
its headers and the options, and the compiler's version. Its last 32 bytes are the SHA-256 of the machine code before
them, so that an entry that was cut short or changed is compiled again. A folder that cannot be used is no error.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nclforensics.errors import DeviceUnavailableError
from nclforensics.ops.class_lse.compiler import compile_module, find_nvrtc, source_digest

if TYPE_CHECKING:
    from nclforensics.ops.class_lse.modules import Defines

CACHE_VARIABLE: Final = "NCLF_KERNEL_CACHE"
SUFFIX: Final = ".cubin"

_DIGEST_BYTES = hashlib.sha256().digest_size
_KEY_LENGTH = 16  # hexadecimal digits, 64 bits: a name, not a signature
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CubinCache:
    """A folder of entries; any number of processes may use it at once.

    Attributes:
        folder: Made when the first entry is written; None keeps nothing.
    """

    folder: Path | None

    def read(self, name: str) -> bytes | None:
        """Return the machine code of an entry, or None if there is none or it is not what was written."""
        if self.folder is None:
            return None
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            return None
        cubin, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(cubin).digest() != digest:
            _LOGGER.warning("The cached kernel %s is damaged and will not be used.", self.folder / name)
            return None
        return cubin

    def write(self, name: str, cubin: bytes) -> None:
        """Add or replace an entry; other processes see the old one or the new one, never a part.

        Raises:
            OSError: If the folder cannot be made or written.
        """
        if self.folder is None:
            return
        # Machine code that will be run: nobody else may write it, but all may read it, for an administrator builds it
        # for everybody, or for a container that runs under another number.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(cubin + hashlib.sha256(cubin).digest())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.folder / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def find(self, prefix: str, version: str | None) -> bytes | None:
        """Return the machine code of a module as compiled by that version, None: by the newest that is there."""
        names = self.names(prefix) if version is None else [entry_name(prefix, version)]
        return next((cubin for cubin in map(self.read, names) if cubin is not None), None)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the entries that begin so, newest compiler first."""
        if self.folder is None:
            return []
        try:
            names = [path.name for path in self.folder.iterdir() if path.name.startswith(prefix)]
        except OSError:
            return []
        return sorted((name for name in names if name.endswith(SUFFIX)), key=_version_of, reverse=True)

    def is_writable(self) -> bool:
        """Return whether an entry could be added, without adding one."""
        if self.folder is None:
            return False
        existing = next((path for path in (self.folder, *self.folder.parents) if path.exists()), None)
        return existing is not None and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def cache_folder() -> Path | None:
    """Return the folder of the user's cache, or None where the system names none.

    NCLF_KERNEL_CACHE names it; else it is nclforensics/kernels in XDG_CACHE_HOME, ~/.cache, or LOCALAPPDATA on Windows.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).absolute()
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    root = Path(os.environ.get(variable, ""))
    if not root.is_absolute():  # unset, or against the rules of XDG
        try:
            root = Path.home() / ".cache"
        except RuntimeError:  # a container's user without a home
            return None
    return root / "nclforensics" / "kernels"


def entry_name(prefix: str, version: str) -> str:
    """Return the file name of what this version of the compiler made of the module with this prefix."""
    return f"{prefix}-nvrtc{version}{SUFFIX}"


def entry_prefix(source: str, defines: Defines, architecture: str) -> str:
    """Return the part of an entry's name that does not depend on the compiler."""
    key = hashlib.sha256(f"{source_digest(source)} {architecture} {list(defines)}".encode()).hexdigest()
    dim = dict(defines).get("DIM")
    width = f"-dim{dim}" if dim else ""
    return f"{Path(source).stem}{width}-{architecture}-{key[:_KEY_LENGTH]}"


def load_cubin(source: str, defines: Defines, architecture: str) -> bytes:
    """Return the machine code of one module, from the cache if it is there, else compiled now and kept there.

    Without a compiler an entry of any compiler's version will do: that is how an air-gapped machine works.

    Raises:
        DeviceUnavailableError: If the cache has no such entry, and NVRTC is missing or refuses the source.
    """
    cache, prefix = CubinCache(cache_folder()), entry_prefix(source, defines, architecture)
    try:
        version = find_nvrtc().version
    except DeviceUnavailableError:
        cubin = cache.find(prefix, None)
        if cubin is None:
            raise
        return cubin
    cubin = cache.find(prefix, version)
    if cubin is None:
        cubin = compile_module(source, defines, architecture).cubin
        try:
            cache.write(entry_name(prefix, version), cubin)
        except OSError as error:
            _note_unwritable(str(cache.folder), str(error))
    return cubin


@functools.cache
def _note_unwritable(folder: str, reason: str) -> None:
    _LOGGER.warning("Kernels are compiled anew in every process: %s cannot be written (%s).", folder, reason)


def _version_of(name: str) -> tuple[int, ...]:
    """Return the compiler's version in an entry's name, (0,) where it has none."""
    version = name.removesuffix(SUFFIX).rpartition("-nvrtc")[2]
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
