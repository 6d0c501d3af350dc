"""What an image file says about itself: format and size, read from its first bytes, and whether the file is whole.

Decoders fill the missing part of a truncated file with grey or black and only print a warning; such pixels would be
analysed as if they were photographed. So the end of every file is checked before anything is decoded.
"""

from __future__ import annotations

import io
import logging
import math
import re
import struct
import zlib
from dataclasses import dataclass

import tifffile

from nclforensics.errors import UnreadableImageError

# Without a handler of its own, tifffile's complaints about damaged files would land on our stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 ... SOF15; the three are other markers
_END, _SCAN, _APP1, _FILL = 0xD9, 0xDA, 0xE1, 0xFF
_JPEG_BARE = frozenset({0x00, 0x01, _END, *range(0xD0, 0xD9)})  # markers without a segment
# In entropy-coded data 0xFF is followed by 0x00 (stuffing), 0xD0-0xD7 (restart) or 0xFF (fill): all else ends the scan.
_JPEG_SCAN_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file declare.

    Attributes:
        format: "JPEG", "PNG", "TIFF", "BMP" or "WebP", from the content, never from the file's name.
        width: Pixels a row.
        height: Rows.
        notes: What a reader of a report should know, for example an orientation tag that is not applied.
    """

    format: str
    width: int
    height: int
    notes: tuple[str, ...] = ()


def parse_header(data: bytes) -> Header:
    """Return format and size of an encoded image after checking that the file does not stop early.

    Raises:
        UnreadableImageError: With the reason alone (the caller knows the file's name): unknown format, damaged or
            truncated data.
    """
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes)")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(_PNG_SIGNATURE):
            return _png(data)
        if data.startswith(_TIFF_SIGNATURES):
            return _whole_tiff(data)
        if data.startswith(b"BM"):
            return _bmp(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError) as error:
        raise UnreadableImageError(f"the data stops inside the header, after {len(data)} bytes") from error
    start = data[:8].hex(" ")
    raise UnreadableImageError(f"the content is no JPEG, PNG, TIFF, BMP or WebP image (it begins with bytes {start})")


def tiff_page(data: bytes) -> tifffile.TiffPage:
    """Return the first page of a TIFF file; a damaged directory raises nearly any exception.

    Raises:
        UnreadableImageError: If there is no page.
    """
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    if not isinstance(page, tifffile.TiffPage):
        raise UnreadableImageError("the TIFF file has no first page")
    return page


def _jpeg(data: bytes) -> Header:
    """Walk the segments up to the end marker; a thumbnail's own markers lie inside a segment and are stepped over."""
    size: tuple[int, int] | None = None
    notes: list[str] = []
    scans = 0
    position = 2
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise UnreadableImageError(f"the JPEG data stops after {len(data)} bytes, before its end marker")
        marker = data[position + 1]
        if marker == _END and size and scans:
            return Header("JPEG", *size, notes=tuple(notes))
        if marker == _FILL or marker in _JPEG_BARE:
            position += 1 if marker == _FILL else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body = data[position + 4 : position + 2 + length]
        if marker in _JPEG_FRAMES and size is None:
            height, width, components = struct.unpack_from(">xHHB", body)
            size = (width, height)
            notes += ["CMYK converted to RGB"] if components == 4 else []  # noqa: PLR2004 - C, M, Y and K
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            notes += _orientation_notes(body[6:])
        position += 2 + length
        if marker == _SCAN:
            scans += 1
            end = _JPEG_SCAN_END.search(data, position)
            position = end.start() if end else len(data)


def _orientation_notes(exif: bytes) -> list[str]:
    """Return a note if the camera's orientation tag asks viewers to turn the image."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (offset,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, offset)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, offset + 2 + 12 * entry)
            if tag == 0x0112:  # noqa: PLR2004 - Orientation
                return orientation_note(value)
    except struct.error:
        return ["EXIF data is damaged"]
    return []


def orientation_note(value: int) -> list[str]:
    """Return what to say about an orientation tag: nothing for 1 (upright) and undefined values."""
    return [f"orientation tag {value} not applied: pixels are analysed as stored"] if 2 <= value <= 8 else []  # noqa: PLR2004


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    position = len(_PNG_SIGNATURE)
    notes: tuple[str, ...] = ()
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            break
        if kind[:1].isupper():  # critical chunks: header, palette, pixel data, end
            (expected,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(data[position + 4 : end - 4]) != expected:
                raise UnreadableImageError(f"the PNG data is damaged: wrong checksum in the chunk at byte {position}")
        if kind == b"acTL":
            notes = ("animated: first frame analysed",)
        if kind == b"IEND":
            return Header("PNG", width, height, notes=notes)
        position = end
    raise UnreadableImageError(f"the PNG data stops after {len(data)} bytes, before its end marker")


def _whole_tiff(data: bytes) -> Header:
    try:
        return _tiff(data)
    except UnreadableImageError:
        raise
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the TIFF directory is damaged ({type(error).__name__}: {error})") from error


def _tiff(data: bytes) -> Header:
    page = tiff_page(data)
    layout = page.parent.tiff
    (tags,) = struct.unpack_from(layout.tagnoformat, data, page.offset)
    ends = [page.offset + layout.tagnosize + tags * layout.tagsize + layout.offsetsize]
    ends += [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    pieces = math.prod(page.chunked)  # decoders leave strips and tiles that are not listed black
    if len(page.dataoffsets) < pieces or len(page.databytecounts) < pieces:
        raise UnreadableImageError(f"the TIFF directory lists {len(page.dataoffsets)} of {pieces} strips or tiles")
    if max(ends) > len(data):
        raise UnreadableImageError(f"the TIFF data stops after {len(data)} bytes, its first page needs {max(ends)}")
    notes = ["several pages: first page analysed"] if _has_next_page(page) else []
    tag = page.tags.get("Orientation")
    notes += orientation_note(int(tag.value)) if tag is not None and str(int(tag.value)).isdigit() else []
    return Header("TIFF", int(page.imagewidth), int(page.imagelength), notes=tuple(notes))


def _has_next_page(page: tifffile.TiffPage) -> bool:
    try:
        return len(page.parent.pages) > 1
    except Exception:  # noqa: BLE001 - a damaged second page does not concern the first
        return True


def _bmp(data: bytes) -> Header:
    (pixels_at, header_size) = struct.unpack_from("<II", data, 10)
    if header_size == 12:  # noqa: PLR2004 - the OS/2 header
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    needed = pixels_at + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if compression in {0, 3} and needed > len(data):  # plain and bit fields; run-length data has no fixed size
        raise UnreadableImageError(f"the BMP data stops after {len(data)} of {needed} bytes")
    return Header("BMP", abs(width), abs(height))


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise UnreadableImageError(f"the WebP data stops after {len(data)} of {size + 8} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Header("WebP", width, height, notes=("animated: first frame analysed",) if data[20] & 2 else ())
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("WebP", width & 0x3FFF, height & 0x3FFF)
