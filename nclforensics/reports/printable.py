"""Text of unknown origin, such as a file name, made safe to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container


def printable(text: str, *, font: Container[int] | None = None) -> str:
    r"""Return text with everything escaped that a reader could not see, or that would disguise the rest.

    That is control characters, marks that turn the direction of writing, and bytes that are no text; each becomes the
    escape that Python writes for it.

    Args:
        text: Any text.
        font: Code points that can be drawn; others are escaped too. None: all can.

    >>> print(printable("invoice\u202egpj.exe"))
    invoice\u202egpj.exe
    """
    return "".join(
        char
        if char.isprintable() and (font is None or ord(char) in font)
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
