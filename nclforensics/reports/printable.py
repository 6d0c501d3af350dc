"""Text of unknown origin, such as a file name, made safe to look at."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

_RIGHT_TO_LEFT: Final = ("R", "AL")  # Unicode's classes of letters such as Hebrew and Arabic ones


def printable(text: str, *, font: Container[int] | None = None) -> str:
    r"""Return text with everything escaped that a reader could not see, or that would disguise the rest.

    That is control characters, marks that turn the direction of writing, and bytes that are no text; each becomes the
    escape that Python writes for it.

    Args:
        text: Any text.
        font: Code points that can be drawn, one after the other from left to right: others are escaped too, and so is
            what is written from right to left, which would come out backwards. None: all can be drawn.

    >>> print(printable("invoice\u202egpj.exe"))
    invoice\u202egpj.exe
    """
    return "".join(
        char
        if char.isprintable() and (font is None or _is_drawn(char, font))
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def _is_drawn(char: str, font: Container[int]) -> bool:
    return ord(char) in font and unicodedata.bidirectional(char) not in _RIGHT_TO_LEFT
