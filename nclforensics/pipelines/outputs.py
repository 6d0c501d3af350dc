"""Where results go and how they get there: names that never collide, and files that are whole or absent.

Naming rule. An image found in an input folder keeps its path below that folder, an image named itself keeps its file
name; the suffix stays, so `a.jpg` and `a.png` have different masks: `a.jpg.mask.png`, `a.png.mask.png`. Where two
inputs would still share a name, the later one, in the order given, gets `~2` (then `~3`, ...) before `.mask.png`; so
does a folder that is named like an output, a record or a report. Names are compared without regard to case, and to
whether an accented letter is one character or two, since there are file systems that would merge them.

A store or an archive may hold names that no file system has: what is too long for a folder is cut as a file's name is,
and ".." leads nowhere, it becomes the folder `~..`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import unicodedata
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.errors import OutputError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from nclforensics.config import ScanConfig

RESULTS_FILE: Final = "results.jsonl"
RUN_FILE: Final = "run.json"
TIMINGS_FILE: Final = "timings.jsonl"
PREVIOUS_FILES: Final = "results.previous-{}.jsonl"  # records that a resumed scan moves aside, numbered from 1
MASK_SUFFIX: Final = ".mask.png"
OVERLAY_SUFFIX: Final = ".overlay.png"
SCORE_SUFFIX: Final = ".score.png"
SUFFIXES: Final = (MASK_SUFFIX, OVERLAY_SUFFIX, SCORE_SUFFIX)
# Files of ours in the output folder beside those of its images, and half-written ones anywhere in it: no folder of
# masks is called so.
_OUR_FILES: Final = (
    *(RESULTS_FILE, RUN_FILE, TIMINGS_FILE, PREVIOUS_FILES.format("*")),
    *(f"report.{kind}" for kind in ("csv", "html", "json", "pdf")),
)
_TEMPORARY: Final = ".nclf-*.tmp"
# File systems allow 255 bytes a name; the longest suffix, a number and a digest must still fit.
MAX_NAME_BYTES: Final = 220


class OutputNames:
    """Hands out output names, each once."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def claim(self, relative: Path) -> str:
        """Return the name below the output folder, with "/" between its parts, for an image; see the naming rule.

        Args:
            relative: The image's path below its input folder, or its file name.
        """
        folder = PurePosixPath()
        for part in map(_folder_name, relative.parent.parts):
            # A folder of the input may be named like another image's mask, and no path is both file and folder.
            folder = PurePosixPath(_numbered((folder / part).as_posix(), self._is_file))
        name = _numbered((folder / _short(relative.name)).as_posix(), self._taken)
        self._files |= _outputs(name)
        self._folders |= {_key(str(parent)) for parent in PurePosixPath(name).parents}
        return name

    def _is_file(self, name: str) -> bool:
        return _key(name) in self._files or _is_ours(_key(name))

    def _taken(self, name: str) -> bool:
        outputs = _outputs(name)
        return not (outputs.isdisjoint(self._files) and outputs.isdisjoint(self._folders))


def _is_ours(key: str) -> bool:
    half_written = fnmatchcase(PurePosixPath(key).name, _TEMPORARY)
    return half_written or any(fnmatchcase(key, pattern) for pattern in _OUR_FILES)


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is a folder itself or lies below it, symbolic links followed."""
    return resolved(path).is_relative_to(resolved(folder))


def resolved(path: Path) -> Path:
    """Return the absolute path with links followed; a loop of links, or what can be no path, is left as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a zero byte, or a character that no file name can have
        return path.absolute()


def check_output_folder(out: Path, input_folders: Iterable[Path], *, force: bool, resume: bool = False) -> None:
    """Refuse an output folder that lies among the evidence or holds the results of another run.

    Args:
        out: The output folder.
        input_folders: No output folder may lie inside one of them.
        force: Allow both.
        resume: Allow the results of an earlier run: they are what is resumed.

    Raises:
        OutputError: With what to do; a path that is a file, or cannot be looked for, is refused even if forced.
    """
    if is_there(out) and not out.is_dir():
        raise OutputError(f"Expected --out to be a folder, but {out} is a file. Choose another one.")
    if force:
        return
    for folder in input_folders:
        if is_inside(out, folder):
            raise OutputError(
                f"The output folder {out} lies inside the input folder {folder}: evidence must stay as it is. "
                "Choose a folder elsewhere, or allow it with --force."
            )
    if not resume:
        refuse_results(out)


def is_there(path: Path) -> bool:
    """Return whether there is an output folder or a file in it.

    Raises:
        OutputError: If the system does not tell: the name is too long, or a folder may not be entered.
    """
    try:
        return path.exists()
    except OSError as error:
        raise cannot_write(path, error) from error


def refuse_results(out: Path) -> None:
    """Refuse an output folder that holds the results of another run.

    Raises:
        OutputError: With what to do.
    """
    if is_there(out / RESULTS_FILE):
        raise OutputError(
            f"{out} holds the results of an earlier scan ({RESULTS_FILE}). Choose another folder, "
            "go on with that scan with --resume, or replace its results with --force."
        )


def refuse_files(out: Path, names: Iterable[str]) -> None:
    """Refuse an output folder that holds one of the files that a new scan would write: it is somebody else's.

    Args:
        out: The output folder.
        names: What would be written there; each is looked for, unless the folder is empty.

    Raises:
        OutputError: With what to do.
    """
    try:
        is_empty = not any(out.iterdir())
        found = None if is_empty else next((name for name in names if os.path.lexists(out / name)), None)
    except OSError as error:
        raise cannot_write(out, error) from error
    if found is not None:
        raise OutputError(
            f"{out / found} is there already, and no scan in {out} has a record of it. Choose another folder, "
            "or replace that file with --force."
        )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the output folder, and keep other scans out of it meanwhile; a killed process holds no lock.

    Raises:
        OutputError: If the folder cannot be made, or another scan is writing to it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY) if sys.platform != "win32" else -1
    except OSError as error:
        raise cannot_write(out, error) from error
    if sys.platform == "win32":  # it has no locks on folders
        yield
        return
    import fcntl  # noqa: PLC0415 - not there on Windows

    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"Another scan is writing to {out}. Wait for it, or choose another folder.") from error
        except OSError:
            pass  # a network file system without locks
        yield
    finally:
        os.close(folder)


def write_atomic(path: Path, content: bytes) -> str:
    """Write a file so that it is seen whole or not at all, and return its SHA-256.

    Args:
        path: Replaced if it exists; missing folders are made.
        content: All of its bytes.

    Raises:
        OutputError: As for `write_pieces`.
    """
    write_pieces(path, (content,))
    return digest_of(content)


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file piece by piece so that it is seen whole or not at all.

    Args:
        path: Replaced if it exists; missing folders are made.
        pieces: Its bytes, one piece after the other.

    Raises:
        OutputError: If there is no space, no permission, or something that is no regular file has that name; nothing
            is left behind.
    """
    temporary = path.with_name(f".nclf-{secrets.token_hex(8)}.tmp")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe would be replaced without a word
            raise OutputError(f"Cannot write {path}: expected a file or a new name, found something else there.")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def digest_of(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def remove_temporaries(out: Path) -> None:
    """Remove the half-written files that a killed run left."""
    for path in out.rglob(_TEMPORARY):
        if not path.is_dir():  # of an older version, which had masks in a folder called so
            remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a file of ours if it is there.

    Raises:
        OutputError: If it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error that says which file could not be written, why, and what to do."""
    return OutputError(f"Cannot write {path}: {error.strerror or error}. Free space or choose another place.")


def output_names(name: str, config: ScanConfig) -> list[str]:
    """Return the names of the files that a scan with these settings writes for an image, the mask's first.

    Args:
        name: What `OutputNames` gave the image.
        config: Settings.
    """
    wanted = {MASK_SUFFIX: True, OVERLAY_SUFFIX: config.overlay, SCORE_SUFFIX: config.score_map}
    return [name + suffix for suffix, is_wanted in wanted.items() if is_wanted]


def encode_png(pixels: NDArray[np.unsignedinteger[Any]]) -> bytes:
    """Return pixels as a PNG; equal pixels give equal bytes.

    Args:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8 or uint16.

    Raises:
        UnreadableImageError: If the image has more rows or columns than a PNG can have.
    """
    stored = np.ascontiguousarray(pixels[:, :, ::-1]) if pixels.ndim == 3 else pixels  # noqa: PLR2004 - RGB
    done, content = cv2.imencode(".png", stored)
    if not done:
        raise UnreadableImageError(f"Cannot store {pixels.shape[1]} x {pixels.shape[0]} pixels as a PNG.")
    return content.tobytes()


def encode_mask(prediction: NDArray[np.bool_]) -> bytes:
    """Return a prediction (H, W) as a PNG of 0 and 255."""
    return encode_png(prediction.astype(np.uint8) * np.uint8(255))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _outputs(name: str) -> set[str]:
    return {_key(name + suffix) for suffix in SUFFIXES}


def _numbered(wanted: str, taken: Callable[[str], bool]) -> str:
    """Return the first of `wanted`, `wanted~2`, `wanted~3`, ... that is not taken."""
    name, number = wanted, 1
    while taken(name):
        number += 1
        name = f"{wanted}~{number}"
    return name


def _folder_name(part: str) -> str:
    """Return the name of the folder for a part of a path, which must not lead out of the output folder."""
    return "~.." if part == ".." else _short(part)


def _short(name: str) -> str:
    """Shorten a name near the file system's limit; a digest keeps it apart from others that begin alike."""
    encoded = os.fsencode(name)
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return encoded[: MAX_NAME_BYTES - len(digest) - 1].decode(errors="ignore") + "~" + digest
