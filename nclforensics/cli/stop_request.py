"""Ctrl-C and SIGTERM as a request to stop cleanly."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final, Self

from nclforensics.cli.console import print_note

if TYPE_CHECKING:
    from types import FrameType

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

# The program `timeout` signals a process and then its whole group: twice within no time, and meant once.
SAME_REQUEST: Final = 1.0  # seconds


class StopRequest:
    """Turns the first of these signals into a request, and the second into `KeyboardInterrupt`; a context manager.

    Args:
        message: What to tell at the first one.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._made_at: float | None = None

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._on_signal) for number in SIGNALS if not _is_unwanted(number)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether the process was asked to stop."""
        return self._made_at is not None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._made_at is None:
            self._made_at = now
            print_note(self._message)
        elif now - self._made_at > SAME_REQUEST:
            raise KeyboardInterrupt


def _is_unwanted(number: int) -> bool:
    """Return whether the process was started so that it outlives its terminal, as by `nohup`."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN
