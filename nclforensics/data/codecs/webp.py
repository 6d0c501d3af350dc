"""WebP (RFC 9649), by OpenCV with libwebp."""

from __future__ import annotations

import struct
from typing import Final

from nclforensics.data.codecs.exif import read_orientation
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

SUFFIXES: Final = frozenset({".webp"})

_ANIMATED: Final = 2  # a bit of the VP8X flags


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a WebP."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def read_header(data: bytes) -> Header:
    """Return what a WebP declares.

    Raises:
        UnreadableImageError: If the data stops before the end that it declares.
    """
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise UnreadableImageError(f"the WebP data stops after {len(data)} of {size + 8} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        orientation, notes = _orientation(data[: size + 8])
        animated = ("animated: first frame analysed",) if data[20] & _ANIMATED else ()
        return Header("WebP", width, height, orientation=orientation, notes=(*animated, *notes))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("WebP", width & 0x3FFF, height & 0x3FFF)


def _orientation(data: bytes) -> tuple[int, tuple[str, ...]]:
    position = 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        if data[position : position + 4] == b"EXIF":
            exif = data[position + 8 : position + 8 + length]
            return read_orientation(exif.removeprefix(b"Exif\0\0"))
        position += 8 + length + length % 2
    return 1, ()
