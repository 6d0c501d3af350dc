"""Lists of paths: a list of the wrong kind is refused, not taken for one long name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from nclforensics.cli.path_lists import read_path_list
from nclforensics.errors import UsageError

STDIN = Path("-")


def _give(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_list_with_nul_bytes_is_no_list_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """`find -print0 | nclf scan -` names the option that reads it."""
    _give(b"a.jpg\0b.jpg\0", monkeypatch)
    with pytest.raises(UsageError, match="stdin, found NUL bytes: use --from0"):
        read_path_list(STDIN, separator=b"\n")


def test_a_list_of_lines_is_no_list_with_nul_bytes(tmp_path: Path) -> None:
    """`--from0` on what `find -print` wrote names the other way."""
    (tmp_path / "list").write_bytes(b"a.jpg\nb.jpg\n")
    with pytest.raises(UsageError, match="nclf scan - < LIST"):
        read_path_list(tmp_path / "list", separator=b"\0")


def test_a_list_from_windows_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What marks it as UTF-8, and how its lines end, is no part of a path; UTF-16 is told by its name."""
    _give(b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n", monkeypatch)
    assert read_path_list(STDIN, separator=b"\n") == [Path("a.jpg"), Path("b.jpg")]
    _give("\ufeffa.jpg\r\n".encode("utf-16-le"), monkeypatch)
    with pytest.raises(UsageError, match="UTF-16"):
        read_path_list(STDIN, separator=b"\n")


def test_a_newline_in_a_name_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NUL byte after it tells so."""
    _give(b"two\nlines.jpg\0", monkeypatch)
    assert read_path_list(STDIN, separator=b"\0") == [Path("two\nlines.jpg")]


def test_a_closed_stdin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no stream then."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        read_path_list(STDIN, separator=b"\n")
