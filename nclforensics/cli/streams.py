"""The standard streams of the process, made safe to use: each may be closed, full, or a pipe that nobody reads.

Whoever writes to them, be it typer or rich: a result that cannot be written is an error, a message is dropped.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO, TypeGuard

from nclforensics.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a shell reports for a process that SIGPIPE ended; ours ends itself, after closing its files.
EXIT_PIPE_CLOSED: Final = 141


class ResultStream(io.TextIOWrapper):
    """Stdout, which ends the command if results cannot be written: `SystemExit` 141 if nobody reads it any more."""

    def write(self, text: str) -> int:
        """Write a text.

        Raises:
            OutputError: If the stream is closed or full.
            SystemExit: With 141, if its reader went away.
        """
        with _failures_told(self):
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered; errors are those of `write`."""
        with _failures_told(self):
            super().flush()


class MessageStream(io.TextIOWrapper):
    """Stderr, which drops what cannot be written: no message may change how a command ends."""

    def write(self, text: str) -> int:
        """Write, or drop, a text."""
        try:
            return super().write(text)
        except OSError:
            _discard(self)
            return len(text)

    def flush(self) -> None:
        """Write, or drop, what is buffered."""
        try:
            super().flush()
        except OSError:
            _discard(self)


def prepare_streams() -> None:
    """Replace stdout and stderr, and give closed streams a place; to be called before any other file is opened.

    Else the next file that is opened takes the number of a closed stream, and what goes to that stream into the file.
    A closed stdout is opened for reading, so that writing a result to it fails; a closed stdin stays None.
    """
    if sys.stdin is None:
        _open_nothing(os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = ResultStream(os.fdopen(_open_nothing(os.O_RDONLY), "wb"))
    elif _is_own(sys.stdout, sys.__stdout__):
        sys.stdout = ResultStream(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            # A name that the stream's encoding does not have is escaped: no reason to end without the result.
            errors="backslashreplace" if sys.stdout.errors == "strict" else sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
        )
    if sys.stderr is None:
        sys.stderr = MessageStream(os.fdopen(_open_nothing(os.O_WRONLY), "wb"), line_buffering=True)
    elif _is_own(sys.stderr, sys.__stderr__):
        sys.stderr = MessageStream(
            sys.stderr.buffer, encoding=sys.stderr.encoding, errors=sys.stderr.errors, line_buffering=True
        )


def _is_own(stream: TextIO, first: TextIO | None) -> TypeGuard[io.TextIOWrapper]:
    """Return whether a stream is the one that the process began with, and not what a test put there."""
    return stream is first and isinstance(stream, io.TextIOWrapper)


def _open_nothing(access: int) -> int:
    """Open the null device under the lowest free number, which is that of the first closed stream."""
    number = os.open(os.devnull, access)
    os.set_inheritable(number, True)
    return number


@contextmanager
def _failures_told(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _discard(stream)
        raise SystemExit(EXIT_PIPE_CLOSED) from None
    except OSError as error:
        _discard(stream)
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        raise OutputError(f"Cannot write to stdout: {reason}. Send the output to a file or a pipe.") from error


def _discard(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter's last flush cannot fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
