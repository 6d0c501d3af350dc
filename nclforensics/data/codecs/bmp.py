"""BMP, by OpenCV."""

from __future__ import annotations

import struct
from typing import Final

from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

SUFFIXES: Final = frozenset({".bmp", ".dib"})

_OS2_HEADER, _FIRST_HEADER = 12, 40
_UNREAD_FIELDS: Final = {_FIRST_HEADER, 52}  # headers behind which, or at whose end, OpenCV does not read bit fields
_BIT_FIELDS: Final = 3
_FIXED_SIZE: Final = {0, _BIT_FIELDS}  # run-length data has no fixed size
_BLUE_FIRST: Final = (0xFF0000, 0xFF00, 0xFF)  # bit fields of red, green and blue


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a BMP."""
    return data.startswith(b"BM")


def read_header(data: bytes) -> Header:
    """Return what a BMP declares.

    Raises:
        UnreadableImageError: If there is less pixel data than that needs, or its colours would not be read rightly.
    """
    (pixels_at, header_size) = struct.unpack_from("<II", data, 10)
    if header_size == _OS2_HEADER:  # OpenCV reads its colours, and its palettes, as grey
        raise UnreadableImageError("BMP as OS/2 1 wrote it (a header of 12 bytes) is not supported")
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    needed = pixels_at + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if compression in _FIXED_SIZE and needed > len(data):
        raise UnreadableImageError(f"the BMP data stops after {len(data)} of {needed} bytes")
    if header_size in _UNREAD_FIELDS and (bits, compression) == (32, _BIT_FIELDS):  # its colours would be swapped
        fields = struct.unpack_from("<3I", data, 14 + _FIRST_HEADER)
        if fields != _BLUE_FIRST:
            raise UnreadableImageError("BMP of 32 bits in another order than blue, green, red is not supported")
    return Header("BMP", abs(width), abs(height))
