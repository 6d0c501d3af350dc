"""PNG (ISO/IEC 15948), by OpenCV with libpng; of an animated one the image that viewers without animation show."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

from nclforensics.data.codecs import opencv
from nclforensics.data.codecs.exif import read_orientation
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".png", ".apng"})

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_ANIMATION: Final = {b"acTL", b"fcTL", b"fdAT"}
_PALETTE: Final = 3
_CHANNELS: Final = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}  # by colour type
_DEFLATE_RATIO: Final = 1032  # RFC 1951: 258 bytes for two bits at the most


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a PNG."""
    return data.startswith(_SIGNATURE)


def read_header(data: bytes) -> Header:
    """Return what a PNG declares, after checking the checksums of all that its pixels depend on.

    Raises:
        UnreadableImageError: If a checksum is wrong, the data stops early, or cannot unpack to the size it declares.
    """
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    orientation, packed, animated, apart = 1, 0, False, True
    notes: list[str] = []
    if colour == _PALETTE:
        notes.append("palette expanded")
    elif bits < 8:  # noqa: PLR2004
        notes.append(f"{bits} bits scaled to 8")
    for kind, content in _chunks(data):
        if kind == b"IDAT":
            packed += len(content)
        elif kind == b"acTL":
            animated = True
        elif kind == b"fcTL" and not packed:
            apart = False
        elif kind == b"eXIf":
            orientation, exif_notes = read_orientation(bytes(content))
            notes += exif_notes
    if animated:
        notes.append("animated: still picture analysed, no frame of it" if apart else "animated: first frame analysed")
    if width * height * bits * _CHANNELS.get(colour, 1) > packed * _DEFLATE_RATIO * 8:
        raise UnreadableImageError(
            f"its header declares {width} x {height} pixels, too many for {packed} bytes of compressed data"
        )
    return Header("PNG", width, height, orientation=orientation, notes=tuple(notes))


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the samples of the image that viewers without animation show, and no notes; errors are OpenCV's."""
    return opencv.decode(_still(data) if b"acTL" in data else data)


def _still(data: bytes) -> bytes:
    """Leave out what animates a PNG: OpenCV would return the first frame, which may be another picture."""
    parts: list[bytes | memoryview] = [_SIGNATURE]
    for kind, content in _chunks(data):
        if kind not in _ANIMATION:
            checksum = zlib.crc32(content, zlib.crc32(kind))
            parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)]
    return b"".join([*parts, _END])


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of each chunk before the end chunk.

    Raises:
        UnreadableImageError: If the data ends first, or the checksum of a critical chunk is wrong.
    """
    view = memoryview(data)
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            break
        if kind[:1].isupper():  # critical chunks: header, palette, pixel data, end
            (expected,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[position + 4 : end - 4]) != expected:
                raise UnreadableImageError(f"the PNG data is damaged: wrong checksum in the chunk at byte {position}")
        if kind == b"IEND":
            return
        yield kind, view[position + 8 : end - 4]
        position = end
    raise UnreadableImageError(f"the PNG data stops after {len(data)} bytes, before its end marker")
