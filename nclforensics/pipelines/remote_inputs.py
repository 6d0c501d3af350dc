"""Inputs in an object store, named by a URI such as `s3://bucket/photos/a.jpg` and read through fsspec (an extra).

The evidence contract for objects: they are only read. An object is fetched once, to a file of the scan's own that is
removed afterwards; the digest in the record is that of the bytes which were decoded. After the analysis the object is
fetched a second time and hashed: if it is no longer the same, the image counts as skipped, as a file that was changed.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from nclforensics.errors import MissingInputError, UnreadableImageError, UsageError
from nclforensics.pipelines.decoder_pool import DecoderPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.data.images import LoadedImage

INSTALL: Final = "pip install 'nclforensics[ray]'"
LARGEST_OBJECT: Final = 2**34  # what the largest image that is scanned takes uncompressed
_URI: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_LOCAL_PROTOCOLS: Final = ("file", "local")
_CHAIN: Final = "::"  # fsspec's, between a place in an archive and the place of the archive
_PASSWORD: Final = re.compile(r"[^/@]*:[^/]*@")

# To the type checker it is a path, since the stages of a scan take one. At run time it is none, so that a method which
# is not written below fails instead of looking on the local disk.
if TYPE_CHECKING:
    _PathLike = Path
else:
    _PathLike = object


def input_path(text: str) -> Path:
    """Return the path or the object that a user names; `file://` is a local path, and so is whatever exists as one."""
    match = _URI.fullmatch(text)
    if match is None or os.path.lexists(text):
        return Path(text)
    protocol, rest = match.groups()
    if protocol not in _LOCAL_PROTOCOLS:
        return RemotePath(text)
    rest = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    return Path(rest if os.path.lexists(rest) else unquote(rest))


@dataclass(frozen=True)
class RemotePath(_PathLike):
    """An object in a store: the part of `pathlib.Path` that a scan uses. Whatever fails is an OSError.

    Attributes:
        uri: As the user named it, or that of the folder that the user named and the object's path below it. With
            fsspec's chains, such as `zip://photos/a.jpg::s3://bucket/case.zip`.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """Return the last part."""
        return self._own_path().name

    @property
    def suffix(self) -> str:
        """Return the last part's suffix, with its dot."""
        return self._own_path().suffix

    def resolve(self, strict: bool = False) -> RemotePath:  # noqa: FBT001, FBT002, ARG002 - as in pathlib
        """Return the object itself: there are no links."""
        return self

    def is_absolute(self) -> bool:
        """Return whether it is the same object in whatever folder: an archive may be named relative to one."""
        protocol, _, rest = self.uri.rpartition(_CHAIN)[2].rpartition("://")
        return protocol not in ("", *_LOCAL_PROTOCOLS) or Path(rest).is_absolute()

    def exists(self) -> bool:
        """Return whether there is an object, or a folder, of this name."""
        with _os_errors(self):
            file_system, path = self._place()
            return bool(file_system.exists(path))

    def is_dir(self) -> bool:
        """Return whether objects lie below this name."""
        with _os_errors(self):
            file_system, path = self._place()
            return bool(file_system.isdir(path))

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        try:
            return stat.S_ISREG(self.stat().st_mode)
        except FileNotFoundError:
            return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as in pathlib
        """Return kind and size; the other fields are 0."""
        with _os_errors(self):
            file_system, path = self._place()
            facts = file_system.info(path)
            kind = stat.S_IFREG if facts["type"] == "file" else stat.S_IFDIR
            return os.stat_result((kind, 0, 0, 1, 0, 0, int(facts["size"] or 0), 0, 0, 0))

    def read_bytes(self) -> bytes:
        """Return the object's content."""
        with self.open() as file:
            content = file.read()
            assert isinstance(content, bytes)
            return content

    def open(self, mode: str = "rb") -> IO[Any]:  # type: ignore[override]  # one mode
        """Fetch the object anew and return it as a file that vanishes when it is closed."""
        assert mode == "rb"
        file = tempfile.TemporaryFile(prefix="nclf-")  # noqa: SIM115 - the caller closes it
        try:
            self.fetch_into(file)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def fetch_into(self, file: IO[bytes]) -> None:
        """Copy the object's bytes, as they are now, into a file, in pieces."""
        with _os_errors(self):
            file_system, path = self._place()
            with file_system.open(path, "rb", cache_type="readahead") as remote:
                while piece := remote.read(2**22):
                    file.write(piece)

    def objects_below(self) -> list[tuple[RemotePath, str]]:
        """Return the objects below this one, each with its path below it, sorted."""
        with _os_errors(self):
            file_system, path = self._place()
            found = file_system.find(path)
        relative = sorted(name.removeprefix(path).lstrip("/") for name in found)
        head, chain, rest = self.uri.partition(_CHAIN)
        parent = head if head.endswith("://") else head.rstrip("/") + "/"
        return [(RemotePath(f"{parent}{name}{chain}{rest}"), name) for name in relative]

    def _own_path(self) -> PurePosixPath:
        return PurePosixPath(self.uri.partition(_CHAIN)[0].partition("://")[2])

    def _place(self) -> tuple[Any, str]:
        """Return fsspec's file system and the path in it; what it once listed or read is not taken for true later."""
        # An archive keeps what it has read of its file, so it is opened anew.
        options = {"use_listings_cache": False, "skip_instance_cache": _CHAIN in self.uri}
        try:
            file_system, path = _fsspec(self).url_to_fs(self.uri, **options)
        except ImportError as error:  # in fsspec's words: what to install
            raise UsageError(f"Cannot read {self.uri}: {error}") from error
        return file_system, str(path)


def check_uri(path: RemotePath) -> None:
    """Refuse a URI that no object of can be read, or that must not be recorded.

    Raises:
        UsageError: If it holds a password, or names a store that is not known or for which a package is missing.
    """
    links = path.uri.split(_CHAIN)
    protocol, _, rest = links[-1].partition("://")
    if _PASSWORD.match(rest):
        host = rest.partition("/")[0].rpartition("@")[2]
        raise UsageError(
            f"The URI of {protocol}://{host} holds a password, which would stand in every record and report. Leave it "
            f"out; fsspec takes it from the environment, as FSSPEC_{protocol.upper()}_PASSWORD."
        )
    for link in links:
        protocol, is_uri, _ = link.partition("://")
        try:
            if is_uri:
                _fsspec(path).get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:  # in fsspec's words: what to install, or that it is not known
            raise UsageError(f"Cannot read {path}: {error}") from error


def unnameable(path: RemotePath, name: str) -> str | None:
    """Return why an object of this name, found below another one, cannot be read by its URI; None if it can."""
    if _CHAIN in name:
        return f'Cannot read {path}: fsspec takes the "{_CHAIN}" in its name for the end of it.'
    return None


def _fsspec(path: RemotePath) -> Any:  # noqa: ANN401 - it has no types
    try:
        return import_module("fsspec.core")  # not by a statement: it is an extra
    except ImportError as error:
        raise UsageError(f"Reading {path} needs fsspec, which is not installed: {INSTALL}") from error


class InputReader(DecoderPool):
    """Decodes files as its base does, and objects from a file that they are fetched to.

    So neither the network nor its credentials' clients come near the process in which hostile data is decoded.
    """

    def _decode(self, path: Path) -> LoadedImage:
        with on_disk(path) as file:
            try:
                return super()._decode(file)
            except UnreadableImageError as error:
                raise UnreadableImageError(str(error).replace(str(file), str(path))) from error


def recorded_input(text: str, *, working_folder: str) -> Path:
    """Return the path or the object that a record names: a relative path was relative to the scan's folder."""
    path = input_path(text)
    return path if isinstance(path, RemotePath) else Path(working_folder, text)


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """Give a file to read: the path itself, or what an object was fetched to, for as long as the context lasts.

    Raises:
        MissingInputError: If there is no such object.
        UnreadableImageError: If it cannot be fetched, or is too large.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError(f"Cannot read {path}: it is a folder, not an object.")
        if status.st_size > LARGEST_OBJECT:
            raise UnreadableImageError(f"Cannot read {path}: the object is larger than {LARGEST_OBJECT} bytes.")
        with tempfile.TemporaryDirectory(prefix="nclf-") as folder:
            local = Path(folder, f"object{path.suffix}")
            with local.open("wb") as file:
                path.fetch_into(file)
            yield local
    except FileNotFoundError as error:
        raise MissingInputError(f"Expected an image at {path}, found no such object.") from error
    except OSError as error:
        raise UnreadableImageError(f"Cannot read {path}: {error.strerror or error}.") from error


@contextmanager
def _os_errors(path: RemotePath) -> Iterator[None]:
    """Turn what a store's client raises, which may be anything, into an OSError, as a disk would raise."""
    try:
        yield
    except (OSError, UsageError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__} at {path}: {error}") from error
