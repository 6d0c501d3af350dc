"""Lists of paths from a file or from stdin, as `find` writes them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nclforensics.errors import MissingInputError

if TYPE_CHECKING:
    from pathlib import Path


def read_path_list(source: Path, *, separator: bytes) -> list[Path]:
    r"""Return the paths and objects of a list; empty entries do not count.

    Args:
        source: A file, or "-" for stdin.
        separator: What stands between two paths: a newline, or the zero byte, which no path can hold.

    Raises:
        MissingInputError: If the file cannot be read.
    """
    try:
        # Bytes: a file name need not be valid in the locale's encoding.
        content = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
    except OSError as error:
        raise MissingInputError(f"Expected a list of paths in {source}, cannot read it: {error.strerror}.") from error
    if separator == b"\n":
        content = content.replace(b"\r\n", b"\n")
    from nclforensics.pipelines.remote_inputs import input_path  # noqa: PLC0415 - keeps `nclf --help` quick

    return [input_path(os.fsdecode(entry)) for entry in content.split(separator) if entry]
