"""Where results go and how they get there: names that never collide, and files that are whole or absent.

Naming rule. An image found in an input folder keeps its path below that folder, an image named itself keeps its file
name; the suffix stays, so `a.jpg` and `a.png` have different masks: `a.jpg.mask.png`, `a.png.mask.png`. Where two
inputs would still share a name, the later one, in the order given, gets `~2` (then `~3`, ...) before `.mask.png`; so
does a folder that is named like an output. Names are compared without regard to case, since a case-insensitive file
system would merge them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

RESULTS_FILE: Final = "results.jsonl"
RUN_FILE: Final = "run.json"
MASK_SUFFIX: Final = ".mask.png"
OVERLAY_SUFFIX: Final = ".overlay.png"
SCORE_SUFFIX: Final = ".score.png"
SUFFIXES: Final = (MASK_SUFFIX, OVERLAY_SUFFIX, SCORE_SUFFIX)
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
        for part in relative.parent.parts:
            # A folder of the input may be named like another image's mask, and no path is both file and folder.
            folder = PurePosixPath(_numbered((folder / part).as_posix(), lambda name: _key(name) in self._files))
        name = _numbered((folder / _short(relative.name)).as_posix(), self._taken)
        self._files |= _outputs(name)
        self._folders |= {_key(str(parent)) for parent in PurePosixPath(name).parents}
        return name

    def _taken(self, name: str) -> bool:
        outputs = _outputs(name)
        return not (outputs.isdisjoint(self._files) and outputs.isdisjoint(self._folders))


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is a folder itself or lies below it, symbolic links followed."""
    return path.resolve().is_relative_to(folder.resolve())


def check_output_folder(out: Path, input_folders: Iterable[Path], *, force: bool) -> None:
    """Refuse an output folder that lies among the evidence or holds the results of another run.

    Raises:
        OutputError: With what to do, unless forced; always, if the path is a file.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"Expected --out to be a folder, but {out} is a file. Choose another one.")
    if force:
        return
    for folder in input_folders:
        if is_inside(out, folder):
            raise OutputError(
                f"The output folder {out} lies inside the input folder {folder}: evidence must stay as it is. "
                "Choose a folder elsewhere, or allow it with --force."
            )
    if (out / RESULTS_FILE).exists():
        raise OutputError(
            f"{out} holds the results of an earlier scan ({RESULTS_FILE}). "
            "Choose another folder, or replace those results with --force."
        )


def write_atomic(path: Path, content: bytes) -> str:
    """Write a file so that it is seen whole or not at all, and return its SHA-256.

    Args:
        path: Replaced if it exists; missing folders are made.
        content: All of its bytes.

    Raises:
        OutputError: If there is no space, no permission, or a folder has that name; nothing is left behind.
    """
    temporary = path.with_name(f".nclf-{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return hashlib.sha256(content).hexdigest()


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error that says which file could not be written, why, and what to do."""
    return OutputError(f"Cannot write {path}: {error.strerror or error}. Free space or choose another --out folder.")


def encode_png(pixels: NDArray[np.unsignedinteger[Any]]) -> bytes:
    """Return pixels as a PNG; equal pixels give equal bytes.

    Args:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8 or uint16.

    Raises:
        OutputError: If the image is larger than a PNG can be.
    """
    stored = np.ascontiguousarray(pixels[:, :, ::-1]) if pixels.ndim == 3 else pixels  # noqa: PLR2004 - RGB
    done, content = cv2.imencode(".png", stored)
    if not done:
        raise OutputError(f"Cannot store {pixels.shape[1]} x {pixels.shape[0]} pixels as a PNG.")
    return content.tobytes()


def encode_mask(prediction: NDArray[np.bool_]) -> bytes:
    """Return a prediction (H, W) as a PNG of 0 and 255."""
    return encode_png(prediction.astype(np.uint8) * np.uint8(255))


def _key(name: str) -> str:
    return name.casefold()


def _outputs(name: str) -> set[str]:
    return {_key(name + suffix) for suffix in SUFFIXES}


def _numbered(wanted: str, taken: Callable[[str], bool]) -> str:
    """Return the first of `wanted`, `wanted~2`, `wanted~3`, ... that is not taken."""
    name, number = wanted, 1
    while taken(name):
        number += 1
        name = f"{wanted}~{number}"
    return name


def _short(name: str) -> str:
    """Shorten a name near the file system's limit; a digest keeps it apart from others that begin alike."""
    encoded = os.fsencode(name)
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return encoded[: MAX_NAME_BYTES - len(digest) - 1].decode(errors="ignore") + "~" + digest
