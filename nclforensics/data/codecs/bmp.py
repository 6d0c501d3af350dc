"""BMP, by OpenCV."""

from __future__ import annotations

import struct
from typing import Final

from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

SUFFIXES: Final = frozenset({".bmp", ".dib"})

_OS2_HEADER: Final = 12
_FIXED_SIZE: Final = {0, 3}  # plain and bit fields; run-length data has no fixed size


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a BMP."""
    return data.startswith(b"BM")


def read_header(data: bytes) -> Header:
    """Return what a BMP declares.

    Raises:
        UnreadableImageError: If there is less pixel data than that needs.
    """
    (pixels_at, header_size) = struct.unpack_from("<II", data, 10)
    if header_size == _OS2_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    needed = pixels_at + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if compression in _FIXED_SIZE and needed > len(data):
        raise UnreadableImageError(f"the BMP data stops after {len(data)} of {needed} bytes")
    return Header("BMP", abs(width), abs(height))
