"""GIF (87a and 89a), first frame, by Pillow."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import GifImagePlugin

from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".gif"})

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
# A code of 3 bits or more stands for at most 4096 pixels.
_MOST_PIXELS_PER_BYTE: Final = 4096 * 8 // 3


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a GIF."""
    return data.startswith((b"GIF87a", b"GIF89a"))


def read_header(data: bytes) -> Header:
    """Return what a GIF declares, after walking its blocks up to the trailer.

    Raises:
        UnreadableImageError: If the data stops before that, holds no frame, or is too short for its size.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position, frames = 13 + _table_bytes(flags), 0
    while data[position] != _TRAILER:
        if data[position] == _IMAGE:
            frames += 1
            position += 11 + _table_bytes(data[position + 9])
        elif data[position] == _EXTENSION:
            position += 2
        else:
            raise UnreadableImageError(f"the GIF data is damaged at byte {position}")
        while data[position]:
            position += 1 + data[position]
        position += 1
    if frames == 0 or width * height > len(data) * _MOST_PIXELS_PER_BYTE:
        raise UnreadableImageError(f"{len(data)} bytes with {frames} frames do not hold {width} x {height} pixels")
    return Header("GIF", width, height, notes=("animated: first frame analysed",) if frames > 1 else ())


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the first frame on its canvas, uint8 RGB (H, W, 3), and the note that its palette was expanded.

    Raises:
        UnreadableImageError: If the decoder refuses the data.
    """
    try:
        with GifImagePlugin.GifImageFile(io.BytesIO(data)) as image:
            transparent = "transparency" in image.info
            samples = np.array(image.convert("RGB"))
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the GIF data is damaged ({type(error).__name__}: {error})") from error
    return samples, ("palette expanded", *(("transparency ignored",) if transparent else ()))


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
