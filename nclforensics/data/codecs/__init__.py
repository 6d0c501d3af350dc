"""The image formats that are read: each module knows one, and all have the same four names.

`SUFFIXES`, `recognizes(data)`, `read_header(data)`, which refuses files that are not whole, and `decode(data)`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from nclforensics.data.codecs import avif, bmp, gif, heif, jpeg, opencv, png, raw, tiff, webp
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from nclforensics.data.codecs.header import Header

Decoder = Callable[[bytes], tuple[NDArray[Any], tuple[str, ...]]]


@dataclass(frozen=True)
class Codec:
    """One image format.

    Attributes:
        suffixes: Endings of its files' names, lower case.
        recognizes: Tells from the content whether it is of this format.
        read_header: Returns what the content declares, or raises UnreadableImageError with the reason alone.
        decode: Returns the stored samples, (H, W) or (H, W, C) with channels in RGB order, and notes.
    """

    suffixes: frozenset[str]
    recognizes: Callable[[bytes], bool]
    read_header: Callable[[bytes], Header]
    decode: Decoder


# The first one that recognizes the content is taken: a camera RAW file may be a TIFF too.
CODECS: Final[dict[str, Codec]] = {
    "JPEG": Codec(jpeg.SUFFIXES, jpeg.recognizes, jpeg.read_header, jpeg.decode),
    "PNG": Codec(png.SUFFIXES, png.recognizes, png.read_header, opencv.decode),
    "RAW": Codec(raw.SUFFIXES, raw.recognizes, raw.read_header, raw.decode),
    "TIFF": Codec(tiff.SUFFIXES, tiff.recognizes, tiff.read_header, tiff.decode),
    "BMP": Codec(bmp.SUFFIXES, bmp.recognizes, bmp.read_header, opencv.decode),
    "WebP": Codec(webp.SUFFIXES, webp.recognizes, webp.read_header, opencv.decode),
    "GIF": Codec(gif.SUFFIXES, gif.recognizes, gif.read_header, gif.decode),
    "AVIF": Codec(avif.SUFFIXES, avif.recognizes, avif.read_header, avif.decode),
    "HEIC": Codec(heif.SUFFIXES, heif.recognizes, heif.read_header, heif.decode),
}


def read_header(data: bytes) -> Header:
    """Return what an encoded image declares, after checking that the file does not stop early.

    Raises:
        UnreadableImageError: With the reason alone (the caller knows the file's name): unknown format, damaged or
            truncated data.
    """
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes)")
    for codec in CODECS.values():
        if codec.recognizes(data):
            try:
                return codec.read_header(data)
            except (struct.error, IndexError) as error:
                raise UnreadableImageError(f"the data stops inside the header, after {len(data)} bytes") from error
    known = ", ".join(CODECS)
    raise UnreadableImageError(f"the content is of no known format ({known}); it begins with {data[:8].hex(' ')}")
