"""Where output goes: results to stdout, progress, summaries and errors to stderr.

What happens if it cannot be written is up to `nclforensics.cli.streams`.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.table import Table

Item = TypeVar("Item")


def print_error(message: str) -> None:
    """Write one error message to stderr; it may quote text from strangers."""
    print(f"nclf: {_printable_lines(message)}", file=sys.stderr)  # noqa: T201 - this is where messages are printed


def print_note(message: str, *, quiet: bool = False) -> None:
    """Write a line of the summary to stderr, unless quiet; it may quote text from strangers."""
    if not quiet:
        print(_printable_lines(message), file=sys.stderr)  # noqa: T201 - this is where messages are printed


def print_result(text: str) -> None:
    """Write a result and a newline to stdout; end quietly if nobody reads it any more.

    Raises:
        OutputError: If stdout cannot be written to.
        SystemExit: With 141, if the reader of stdout went away.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(table: Table, *, to_stdout: bool = False) -> None:
    """Draw a rich table on stderr, or on stdout where it is the result; errors are then those of `print_result`.

    Its title, a text or none, is a line above it, for the table would break a path in it; no text is taken for markup,
    and what is too long for a column goes on below, for the end of a path tells most.
    """
    from rich.console import Console  # noqa: PLC0415 - keeps `nclf --help` quick

    console = Console(stderr=not to_stdout, highlight=False, markup=False, emoji=False)
    if table.title is not None:
        console.print(table.title, style="table.title", soft_wrap=True)
        table.title = None
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)


def progress(items: Iterable[Item], *, total: int | None, unit: str, quiet: bool = False) -> Iterator[Item]:
    """Yield the items under a progress bar on stderr; no bar if quiet or if stderr is no terminal."""
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    disable = True if quiet else None  # None: tqdm asks whether stderr is a terminal
    with tqdm(items, total=total, unit=unit, file=sys.stderr, disable=disable, dynamic_ncols=True) as bar:
        yield from bar


@contextmanager
def progress_bar(*, total: int | None, unit: str, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar like `progress` does, and give the function that moves it by one."""
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    disable = True if quiet else None
    with tqdm(total=total, unit=unit, file=sys.stderr, disable=disable, dynamic_ncols=True) as bar:
        yield bar.update


def _printable_lines(message: str) -> str:
    """Return a message without what a terminal would obey, but for the line breaks of our own."""
    return "\n".join(map(printable, message.split("\n")))
