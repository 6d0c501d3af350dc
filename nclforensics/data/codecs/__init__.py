"""The image formats that are read: each module knows one, and all have the same four names.

`SUFFIXES`, `recognizes(data)`, `read_header(data)`, which refuses files that are not whole, and `decode(data)`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import cv2
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
        packages: The installed packages that `decode` reads it with.
    """

    suffixes: frozenset[str]
    recognizes: Callable[[bytes], bool]
    read_header: Callable[[bytes], Header]
    decode: Decoder
    packages: tuple[str, ...] = ("opencv",)


# The first one that recognizes the content is taken: a camera RAW file may be a TIFF too.
CODECS: Final[dict[str, Codec]] = {
    "JPEG": Codec(jpeg.SUFFIXES, jpeg.recognizes, jpeg.read_header, jpeg.decode, ("simplejpeg",)),
    "PNG": Codec(png.SUFFIXES, png.recognizes, png.read_header, png.decode),
    "RAW": Codec(raw.SUFFIXES, raw.recognizes, raw.read_header, raw.decode, ("rawpy",)),
    "TIFF": Codec(tiff.SUFFIXES, tiff.recognizes, tiff.read_header, tiff.decode, ("tifffile", "opencv")),
    "BMP": Codec(bmp.SUFFIXES, bmp.recognizes, bmp.read_header, opencv.decode),
    "WebP": Codec(webp.SUFFIXES, webp.recognizes, webp.read_header, opencv.decode),
    "GIF": Codec(gif.SUFFIXES, gif.recognizes, gif.read_header, gif.decode, ("pillow",)),
    "AVIF": Codec(avif.SUFFIXES, avif.recognizes, avif.read_header, avif.decode, ("pillow",)),
    "HEIC": Codec(heif.SUFFIXES, heif.recognizes, heif.read_header, heif.decode, ("pillow-heif",)),
}


@cache
def decoder_of(name: str) -> str:
    """Return what decodes a format, with versions: "simplejpeg 1.8.2", or "tifffile 2025.1.10, opencv 4.11.0"."""
    return ", ".join(f"{package} {_version(package)}" for package in CODECS[name].packages)


def _version(package: str) -> str:
    # OpenCV is distributed under several names, the module is one.
    return cv2.__version__ if package == "opencv" else metadata.version(package)


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
