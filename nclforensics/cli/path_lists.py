"""Lists of paths from a file or from stdin, as `find` writes them."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING

from nclforensics.errors import MissingInputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read_path_list(source: Path, *, separator: bytes) -> list[Path]:
    r"""Return the paths and objects of a list; empty entries do not count.

    Args:
        source: A file, or "-" for stdin.
        separator: What stands between two paths: a newline, or the zero byte, which no path can hold.

    Raises:
        MissingInputError: If the file cannot be read.
        UsageError: If stdin is closed, or the list is one of the other kind.
    """
    is_stdin = str(source) == "-"
    if is_stdin and sys.stdin is None:
        raise UsageError("Expected a list of paths on stdin, but stdin is closed. Pipe a list into the command.")
    try:
        # Bytes: a file name need not be valid in the locale's encoding.
        content = sys.stdin.buffer.read() if is_stdin else source.read_bytes()
    except OSError as error:
        raise MissingInputError(f"Expected a list of paths in {source}, cannot read it: {error.strerror}.") from error
    _check_kind(content, separator, where="stdin" if is_stdin else str(source))
    if separator == b"\n":
        content = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")  # both from Windows
    from nclforensics.pipelines.remote_inputs import input_path  # noqa: PLC0415 - keeps `nclf --help` quick

    return [input_path(os.fsdecode(entry)) for entry in content.split(separator) if entry]


def _check_kind(content: bytes, separator: bytes, *, where: str) -> None:
    """Refuse a list with the other separator: it would be taken for one path with a long, wrong name."""
    if b"\0" in content and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as Windows may write it
        raise UsageError(f"Expected a list in UTF-8 in {where}, found one in UTF-16. Save it as UTF-8.")
    if separator == b"\n" and b"\0" in content:
        raise UsageError(f"Expected one path a line in {where}, found NUL bytes: use --from0 for such a list.")
    if separator == b"\0" and b"\0" not in content and b"\n" in content:
        raise UsageError(
            f"Expected a NUL byte after each path in {where}, found none, but lines. "
            "A list with one path a line goes to stdin: nclf scan - < LIST."
        )
