"""JPEG (ISO/IEC 10918-1), by libjpeg-turbo, which also says where it had to make pixels up.

Decoders fill what they cannot read with grey, repeat the row above, and go on; such pixels would be analysed as if they
had been photographed. So a file that stops before its end marker is refused, and so is one in which the decoder reports
damage. Damage that leaves a valid stream of codes cannot be seen: JPEG has no checksum.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import simplejpeg

from nclforensics.data.codecs import opencv
from nclforensics.data.codecs.bands import row_bands
from nclforensics.data.codecs.exif import read_orientation
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 ... SOF15; the three are other markers
_ARITHMETIC = frozenset(range(0xC9, 0xD0))
_END, _SCAN, _APP1, _APP2, _APP14, _FILL = 0xD9, 0xDA, 0xE1, 0xE2, 0xEE, 0xFF
_BARE = frozenset({0x00, 0x01, _END, *range(0xD0, 0xD9)})  # markers without a segment
# In entropy-coded data 0xFF is followed by 0x00 (stuffing), 0xD0-0xD7 (restart) or 0xFF (fill): all else ends the scan.
_SCAN_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# A Huffman code takes one bit or more and every block of 64 pixels has one, so a byte stands for 512 pixels at most.
_MOST_PIXELS_PER_BYTE: Final = 512
_UNUSUAL_SAMPLING: Final = "unusual chroma subsampling: decoded without a check for damaged data"
OF_CMYK: Final = "CMYK converted to RGB"
_COMPONENTS: Final = 5  # where a frame header has their number
_INKS: Final = 4
_COLOURS: Final = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a JPEG."""
    return data.startswith(b"\xff\xd8\xff")


def read_header(data: bytes) -> Header:
    """Return what a JPEG declares, after walking its segments up to the end marker.

    Raises:
        UnreadableImageError: If the data stops before that, or is too short for the size that it declares.
    """
    size: tuple[int, int] | None = None
    notes: list[str] = []
    orientation, arithmetic, scans, end = 1, False, 0, len(data)
    for marker, body, place in _segments(data):
        if marker in _FRAMES and size is None:
            height, width = struct.unpack_from(">xHH", body)
            size, arithmetic = (width, height), marker in _ARITHMETIC
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            orientation, exif_notes = read_orientation(body[6:])
            notes += exif_notes
        elif marker == _APP2 and body.startswith(b"MPF\0"):
            notes.append("several pictures (MPO): first one analysed")
        scans += marker == _SCAN
        end = place
    if size is None or scans == 0:
        raise UnreadableImageError("the JPEG data holds no picture before its end marker")
    if not arithmetic and size[0] * size[1] > end * _MOST_PIXELS_PER_BYTE:
        raise UnreadableImageError(
            f"its header declares {size[0]} x {size[1]} pixels, too many for {end} bytes of JPEG"
        )
    return Header("JPEG", *size, orientation=orientation, notes=tuple(notes))


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return uint8 samples, (H, W) or RGB (H, W, 3), and notes on what was converted.

    Raises:
        UnreadableImageError: If the decoder refuses the data, or had to make pixels up.
    """
    try:
        colour = _COLOURS.get(simplejpeg.decode_jpeg_header(data)[2], "RGB")
        samples, warnings = _decode(data, colour)
    except ValueError as error:
        if "subsampling" in str(
            error
        ):  # a combination of factors that libjpeg-turbo's simple interface has no name for
            return opencv.decode(data)[0], (_UNUSUAL_SAMPLING, *_ink_notes(data))
        raise UnreadableImageError(f"the JPEG data is damaged ({error})") from error
    if colour == "CMYK":
        return rgb_of_cmyk(samples, inverted=_is_of_adobe(data)), (OF_CMYK, *warnings)
    return samples[:, :, 0] if colour == "GRAY" else samples, warnings


def _is_of_adobe(data: bytes) -> bool:
    return any(marker == _APP14 and body.startswith(b"Adobe") for marker, body, _ in _segments(data))


def _ink_notes(data: bytes) -> tuple[str, ...]:
    """Return the note on the inks of a file that OpenCV decoded, none where there are none.

    Raises:
        UnreadableImageError: If they are not stored as Adobe stores them, which OpenCV takes for granted.
    """
    components = next(body[_COMPONENTS] for marker, body, _ in _segments(data) if marker in _FRAMES)
    if components != _INKS:
        return ()
    if not _is_of_adobe(data):
        raise UnreadableImageError("CMYK of unusual chroma subsampling is supported only as Adobe writes it")
    return (OF_CMYK,)


def rgb_of_cmyk(inks: NDArray[np.uint8], *, inverted: bool) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB of (H, W, 4) inks: (255 - C) (255 - K) / 255, rounded down; no colour profile is applied.

    Args:
        inks: From 0, no ink, to 255.
        inverted: Whether 255 is no ink, as Adobe writes it.
    """
    rgb = np.empty((*inks.shape[:2], 3), np.uint8)
    for rows in row_bands(*inks.shape[:2]):
        light = (inks[rows] if inverted else 255 - inks[rows]).astype(np.uint16)
        rgb[rows] = light[:, :, :3] * light[:, :, 3:] // 255
    return rgb


def _decode(data: bytes, colour: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    try:
        return simplejpeg.decode_jpeg(data, colorspace=colour, strict=True), ()
    except ValueError as error:
        # Bytes between the picture and the end marker are padding in files of some cameras: that is no damage.
        warning = str(error)
        if warning.startswith(("Corrupt JPEG data", "Premature end")) and "extraneous bytes" not in warning:
            raise
        return simplejpeg.decode_jpeg(data, colorspace=colour, strict=False), (f"the JPEG decoder warns: {warning}",)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, contents and end of each segment up to the end marker.

    A thumbnail's own markers lie inside a segment and are stepped over.

    Raises:
        UnreadableImageError: If the data ends first.
    """
    position, scans = 2, 0
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise UnreadableImageError(f"the JPEG data stops after {len(data)} bytes, before its end marker")
        marker = data[position + 1]
        if marker == _END and scans:
            return
        if marker == _FILL or marker in _BARE:
            position += 1 if marker == _FILL else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        start, position = position + 4, position + 2 + length
        if marker == _SCAN:
            scans += 1
            end = _SCAN_END.search(data, position)
            position = end.start() if end else len(data)
        yield marker, data[start : start + length - 2], position
