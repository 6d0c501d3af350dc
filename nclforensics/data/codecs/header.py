"""What every codec says about an encoded image before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    """What an image file declares.

    Attributes:
        format: Name of the format, from the content, never from the file's name.
        width: Pixels a row, as stored.
        height: Rows, as stored.
        orientation: How viewers are asked to turn the picture, EXIF's 1 (upright) to 8; never applied here.
        notes: What a reader of a report should know, for example that only the first of several frames is read.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    notes: tuple[str, ...] = ()
