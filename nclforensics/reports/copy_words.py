"""Content that an image shows twice in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nclforensics.results import Box, Copy


def copy_in_words(copy: Copy) -> str:
    """Return one sentence: where, from where, and how alike."""
    source, target = _place(copy.source), _place(copy.target)
    alike = f"correlation of the detail {copy.correlation:.3f}, {copy.matches} matching points"
    if copy.directed:
        return f"{target} looks copied from {source}: {alike}"
    return f"{source} and {target} show the same content: {alike}; which one is the copy is not known"


def _place(box: Box) -> str:
    return f"{box.width} x {box.height} at ({box.x}, {box.y})"
