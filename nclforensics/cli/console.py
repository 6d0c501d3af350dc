"""Where output goes: results to stdout, progress, summaries and errors to stderr."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.table import Table

# What a shell reports for a process that SIGPIPE ended; ours ends itself, after closing its files.
EXIT_PIPE_CLOSED: Final = 141

Item = TypeVar("Item")


def print_error(message: str) -> None:
    """Write one error message to stderr."""
    print(f"nclf: {message}", file=sys.stderr)  # noqa: T201 - this is where messages are printed


def print_note(message: str, *, quiet: bool = False) -> None:
    """Write a line of the summary to stderr, unless quiet."""
    if not quiet:
        print(message, file=sys.stderr)  # noqa: T201 - this is where messages are printed


def print_result(text: str) -> None:
    """Write a result and a newline to stdout; end quietly if nobody reads it any more.

    Raises:
        SystemExit: With 141, if the reader of stdout went away.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        raise SystemExit(EXIT_PIPE_CLOSED) from None


def print_table(table: Table, *, to_stdout: bool = False) -> None:
    """Draw a rich table on stderr, or on stdout where it is the result."""
    from rich.console import Console  # noqa: PLC0415 - keeps `nclf --help` quick

    Console(stderr=not to_stdout, highlight=False).print(table)


def progress(items: Iterable[Item], *, total: int | None, unit: str, quiet: bool = False) -> Iterator[Item]:
    """Yield the items under a progress bar on stderr; no bar if quiet or if stderr is no terminal."""
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    disable = True if quiet else None  # None: tqdm asks whether stderr is a terminal
    with tqdm(items, total=total, unit=unit, file=sys.stderr, disable=disable, dynamic_ncols=True) as bar:
        yield from bar


@contextmanager
def progress_bar(*, total: int, unit: str, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar like `progress` does, and give the function that moves it by one."""
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    disable = True if quiet else None
    with tqdm(total=total, unit=unit, file=sys.stderr, disable=disable, dynamic_ncols=True) as bar:
        yield bar.update


def discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
