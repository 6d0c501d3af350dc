"""Camera RAW, developed from the sensor's data by one fixed recipe with LibRaw; needs the extra `raw`.

The recipe: the camera's white balance, AHD demosaicing, sRGB primaries and curve, no automatic brightening, 8 bits, not
turned. The JPEG preview in the file is not used: it is not what the sensor recorded.
"""

from __future__ import annotations

import io
import struct
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from nclforensics.data.codecs import tiff
from nclforensics.data.codecs.boxes import brands
from nclforensics.data.codecs.exif import noted_orientation, read_directory
from nclforensics.data.codecs.header import Header
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES: Final = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)

_SIGNATURES: Final = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Fujifilm, Olympus, Panasonic
_PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 0x0106, 0x014A, 0xC612
_SENSOR_MODELS: Final = {32803, 34892}  # colour filter array, linear RAW
_SRGB_CURVE: Final = (2.4, 12.92)
_EXIF_OF_FLIP: Final = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip: 180 degrees, 90 to the left, 90 to the right
_RECIPE: Final = "developed from sensor data (camera white balance, AHD, sRGB, no automatic brightening)"


def recognizes(data: bytes) -> bool:
    """Return whether the data is a camera's RAW file; many of them are TIFF files whose picture is a sensor's."""
    if data.startswith(_SIGNATURES) or b"crx " in brands(data):
        return True
    if not data.startswith(tiff.SIGNATURES[:2]):
        return False
    try:
        first = read_directory(data)
        below = [read_directory(data, offset) for offset in first.get(_SUB_DIRECTORIES, ())]
    except struct.error:
        return False
    sensor = any(_SENSOR_MODELS & set(entries.get(_PHOTOMETRIC, ())) for entries in (first, *below))
    return sensor or _DNG_VERSION in first or data[8:10] == b"CR"


def read_header(data: bytes) -> Header:
    """Return what a RAW file declares.

    Raises:
        UnreadableImageError: If the data is damaged, of an unknown camera, or the extra is not installed.
    """
    library = _library()
    try:
        with library.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise _damaged(error) from error
    orientation, notes = noted_orientation(_EXIF_OF_FLIP.get(sizes.flip, 1))
    return Header("RAW", sizes.width, sizes.height, orientation=orientation, notes=notes)


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return uint8 RGB (H, W, 3) and the recipe as a note.

    Raises:
        UnreadableImageError: If the decoder refuses the data.
    """
    library = _library()
    try:
        with library.imread(io.BytesIO(data)) as raw:
            pixels: NDArray[Any] = raw.postprocess(
                demosaic_algorithm=library.DemosaicAlgorithm.AHD,
                use_camera_wb=True,
                no_auto_bright=True,
                output_color=library.ColorSpace.sRGB,
                gamma=_SRGB_CURVE,
                output_bps=8,
                user_flip=0,
            )
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise _damaged(error) from error
    return pixels, (_RECIPE,)


def _damaged(error: Exception) -> UnreadableImageError:
    return UnreadableImageError(f"the RAW data is damaged or of an unknown camera ({type(error).__name__}: {error})")


def _library() -> ModuleType:
    try:
        import rawpy  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UnreadableImageError("camera RAW images need an extra: pip install 'nclforensics[raw]'") from error
    assert isinstance(rawpy, ModuleType)
    return rawpy
