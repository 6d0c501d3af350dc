"""The few integers that are needed from TIFF directories: the orientation in EXIF, and what marks a camera RAW file."""

from __future__ import annotations

import struct
from typing import Final

ORIENTATION: Final = 0x0112
_WIDTHS: Final = {1: "B", 3: "H", 4: "I", 13: "I"}  # BYTE, SHORT, LONG, IFD
_MOST_VALUES: Final = 64  # of one entry; what is asked for here has at most a few
_INLINE: Final = 4  # bytes of values that stand in the entry itself


def read_orientation(exif: bytes) -> tuple[int, tuple[str, ...]]:
    """Return the orientation in EXIF data, 1 if there is none, and what is to be noted about it.

    Args:
        exif: A TIFF header and its directories, without the prefix that JPEG puts before them.
    """
    try:
        values = read_directory(exif).get(ORIENTATION, (1,))
    except struct.error:
        return 1, ("EXIF data is damaged",)
    return noted_orientation(values[0] if values else 1)


def noted_orientation(value: int) -> tuple[int, tuple[str, ...]]:
    """Return an orientation and what is to be noted about it; values without a meaning count as 1, upright."""
    if not 2 <= value <= 8:  # noqa: PLR2004 - EXIF 2.3, section 4.6.4
        return 1, ()
    return value, (f"orientation tag {value} not applied: pixels are analysed as stored",)


def read_directory(data: bytes, offset: int | None = None) -> dict[int, tuple[int, ...]]:
    """Return the integer entries of one TIFF directory (IFD) by tag; other entries are left out.

    Args:
        data: From the TIFF header on.
        offset: Where the directory is; None for the first one.

    Raises:
        struct.error: If the directory lies outside the data.
    """
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", data, 4)[0] if offset is None else offset
    (count,) = struct.unpack_from(f"{order}H", data, start)
    entries: dict[int, tuple[int, ...]] = {}
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, place)
        if kind not in _WIDTHS or number > _MOST_VALUES:
            continue
        layout = f"{order}{number}{_WIDTHS[kind]}"
        at = place + 8 if struct.calcsize(layout) <= _INLINE else struct.unpack_from(f"{order}I", data, place + 8)[0]
        entries[tag] = struct.unpack_from(layout, data, at)
    return entries
