"""AVIF (AV1 Image File Format), first frame, by Pillow with libavif, which gives 8 bits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import AvifImagePlugin

from nclforensics.data.codecs.boxes import brands
from nclforensics.data.codecs.exif import ORIENTATION, noted_orientation
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".avif"})


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like an AVIF."""
    return not brands(data).isdisjoint({b"avif", b"avis"})


def read_header(data: bytes) -> Header:
    """Return what an AVIF declares.

    Raises:
        UnreadableImageError: If the data is damaged.
    """
    try:
        with AvifImagePlugin.AvifImageFile(io.BytesIO(data)) as image:
            orientation, notes = noted_orientation(int(image.getexif().get(ORIENTATION, 1)))
            if getattr(image, "n_frames", 1) > 1:
                notes = ("animated: first frame analysed", *notes)
            return Header("AVIF", *image.size, orientation=orientation, notes=notes)
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the AVIF data is damaged ({type(error).__name__}: {error})") from error


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return uint8 samples, RGB (H, W, 3) or with alpha (H, W, 4), and no notes.

    Raises:
        UnreadableImageError: If the decoder refuses the data.
    """
    try:
        with AvifImagePlugin.AvifImageFile(io.BytesIO(data)) as image:
            return np.array(image), ()
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the AVIF data is damaged ({type(error).__name__}: {error})") from error
