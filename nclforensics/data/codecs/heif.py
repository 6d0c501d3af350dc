"""HEIC and HEIF (ISO/IEC 23008-12), the primary picture, by libheif; needs the extra `heif`.

Rotation, mirroring and cropping that the container prescribes are part of decoding it, and are applied.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.data.codecs.boxes import brands
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})

_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a HEIF that is no AVIF."""
    return bool(_BRANDS & brands(data)) and b"avif" not in brands(data)


def read_header(data: bytes) -> Header:
    """Return what a HEIC declares.

    Raises:
        UnreadableImageError: If the data is damaged, or the extra is not installed.
    """
    file = _open(data)
    several = ("several pictures: primary one analysed",) if len(file) > 1 else ()
    width, height = file.size
    return Header("HEIC", width, height, notes=several)


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the samples, (H, W) or (H, W, C), uint8 or uint16, and no notes.

    Raises:
        UnreadableImageError: If the decoder refuses the data.
    """
    try:
        return np.array(_open(data)), ()
    except UnreadableImageError:
        raise
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the HEIC data is damaged ({type(error).__name__}: {error})") from error


def _open(data: bytes) -> Any:  # noqa: ANN401 - pillow-heif ships no types
    library = _library()
    try:
        return library.open_heif(data, convert_hdr_to_8bit=False)
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the HEIC data is damaged ({type(error).__name__}: {error})") from error


def _library() -> ModuleType:
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UnreadableImageError("HEIC images need an extra: pip install 'nclforensics[heif]'") from error
    assert isinstance(pillow_heif, ModuleType)
    return pillow_heif
