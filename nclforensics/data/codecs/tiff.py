"""TIFF 6 and BigTIFF, first page: plain data by tifffile, compressed data by OpenCV with libtiff.

libtiff's buffers are bounded by the size that the page declares, so that a small file cannot unpack without limit.
"""

from __future__ import annotations

import io
import logging
import math
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tifffile

from nclforensics.data.codecs import jpeg, opencv
from nclforensics.data.codecs.exif import noted_orientation
from nclforensics.data.codecs.header import Header
from nclforensics.data.codecs.unpacking import LENGTHS
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".tif", ".tiff", ".btf", ".tf8"})
SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_UNCOMPRESSED, _JPEG = 1, 7  # codes of compressions
_WHOLE_BITS: Final = {1, 8, 16, 32, 64}  # a sample; tifffile needs a package more for others, and scales none of them
_READ_BITS: Final = _WHOLE_BITS | {10, 12, 14}  # OpenCV unpacks the others, and 4 of a palette
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_FORMATS: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of a tag's values, by its type
_CONVERSIONS: Final = {  # what reading a colour model other than grey and RGB takes
    "PALETTE": ("palette expanded",),
    "MINISWHITE": ("white-is-zero inverted",),
    "SEPARATED": (jpeg.OF_CMYK,),
    "YCBCR": ("YCbCr converted to RGB",),
}

_COLOUR_MODELS: Final = {"MINISBLACK", "RGB", *_CONVERSIONS}  # libtiff converts others too, by rules of its own

# Without a handler of its own, tifffile's complaints about damaged files would land on our stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def recognizes(data: bytes) -> bool:
    """Return whether the data begins like a TIFF."""
    return data.startswith(SIGNATURES)


def read_header(data: bytes) -> Header:
    """Return what the first page declares, after checking that all of its strips or tiles are in the file.

    Raises:
        UnreadableImageError: If they are not, or the directory is damaged.
    """
    try:
        return _read_header(data)
    except UnreadableImageError:
        raise
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the TIFF directory is damaged ({type(error).__name__}: {error})") from error


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the samples of the first page, (H, W) or (H, W, C) in RGB order, and notes on what was converted.

    Raises:
        UnreadableImageError: If the page is damaged or of a kind that is not supported.
    """
    try:
        return _decode_page(data, _first_page(data))
    except UnreadableImageError:
        raise
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the TIFF data is damaged ({type(error).__name__}: {error})") from error


def _first_page(data: bytes) -> tifffile.TiffPage:
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    if not isinstance(page, tifffile.TiffPage):
        raise UnreadableImageError("the TIFF file has no first page")
    return page


def _read_header(data: bytes) -> Header:
    page = _first_page(data)
    layout = page.parent.tiff
    (tags,) = struct.unpack_from(layout.tagnoformat, data, page.offset)
    ends = [page.offset + layout.tagnosize + tags * layout.tagsize + layout.offsetsize]
    ends += [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    pieces = math.prod(page.chunked)  # decoders leave strips and tiles that are not listed, or listed as empty, black
    listed = sum(1 for place in zip(page.dataoffsets, page.databytecounts, strict=False) if pieces == 1 or all(place))
    if listed < pieces:
        raise UnreadableImageError(f"the TIFF directory lists {listed} of {pieces} strips or tiles")
    if max(ends) > len(data):
        raise UnreadableImageError(f"the TIFF data stops after {len(data)} bytes, its first page needs {max(ends)}")
    tag = page.tags.get("Orientation")
    orientation, notes = noted_orientation(int(tag.value)) if tag is not None else (1, ())
    if _has_next_page(page):
        notes = ("several pages: first page analysed", *notes)
    return Header("TIFF", int(page.imagewidth), int(page.imagelength), orientation=orientation, notes=notes)


def _has_next_page(page: tifffile.TiffPage) -> bool:
    try:
        return len(page.parent.pages) > 1
    except Exception:  # noqa: BLE001 - a damaged second page does not concern the first
        return True


def _decode_page(data: bytes, page: Any) -> tuple[NDArray[Any], tuple[str, ...]]:  # noqa: ANN401 - tifffile's page
    kind = _colour_model(page)
    notes = _CONVERSIONS.get(kind, ())
    known = kind in _COLOUR_MODELS and not (kind == "PALETTE" and page.colormap is None)
    if page.axes not in {"YX", "YXS", "SYX"} or not known:
        raise UnreadableImageError(f"TIFF page of axes {page.axes} and colour model {kind} is not supported")
    if page.compression == _UNCOMPRESSED and kind != "YCBCR" and page.bitspersample in _WHOLE_BITS:
        samples = page.asarray()
        return _interpreted(np.moveaxis(samples, 0, 2) if page.axes == "SYX" else samples, page), notes
    bits = page.bitspersample
    if bits not in _READ_BITS and (bits, kind) != (4, "PALETTE"):
        raise UnreadableImageError(f"TIFF of colour model {kind} with {bits} bits a sample is not supported")
    # OpenCV returns wrong pixels for deep pages of other layouts than these.
    if bits > 8 and (page.planarconfig != 1 or kind not in {"MINISBLACK", "RGB"}):  # noqa: PLR2004 - bits
        layout = f"{bits} bits, colour model {kind}, planar configuration {page.planarconfig}"
        raise UnreadableImageError(f"compressed TIFF of this kind is not supported ({layout})")
    notes = (*notes, *_refuse_damaged(data, page))
    samples, _ = opencv.decode(_as_stored(data, page))
    if kind == "PALETTE" and samples.ndim == 2:  # noqa: PLR2004 - OpenCV makes two colours grey
        raise UnreadableImageError("compressed TIFF with a palette of two colours is not supported")
    if kind == "SEPARATED":  # libtiff has converted it, and adds an opaque alpha channel
        return samples[:, :, :3], notes
    return samples, notes if samples.ndim == 3 or page.samplesperpixel == 1 else (*notes, "alpha channel dropped")  # noqa: PLR2004


def _refuse_damaged(data: bytes, page: Any) -> tuple[str, ...]:  # noqa: ANN401 - tifffile's page
    """Raise UnreadableImageError if a strip or tile does not unpack to what it has to hold; return what to note."""
    if page.compression == _JPEG:
        return _refuse_damaged_jpeg(data, page)
    measure = LENGTHS.get(int(page.compression))
    if measure is None or _colour_model(page) == "YCBCR":  # whose samples may be fewer than its pixels
        return ()
    places = zip(page.dataoffsets, page.databytecounts, _sizes_of_pieces(page), strict=False)
    for number, (start, count, wanted) in enumerate(places):
        packed = data[start : start + count]
        found = measure(packed.translate(_REVERSED) if page.fillorder > 1 else packed, wanted)
        if found < wanted:
            raise UnreadableImageError(
                f"the TIFF data is damaged: strip or tile {number} unpacks to {found} of {wanted} bytes"
            )
    return ()


def _refuse_damaged_jpeg(data: bytes, page: Any) -> tuple[str, ...]:  # noqa: ANN401 - tifffile's page
    """Raise UnreadableImageError if libjpeg-turbo meets damage in a strip or tile; libtiff goes on with grey.

    What it only warns of is returned, once.
    """
    tables = page.jpegtables or b""  # a JPEG without a picture: what all pieces have in common
    notes: list[str] = []
    for number, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        piece = data[start : start + count]
        try:
            notes += jpeg.decode(tables[:-2] + piece[2:] if tables else piece)[1]
        except UnreadableImageError as error:
            raise UnreadableImageError(f"strip or tile {number} of the TIFF data: {error}") from error
    return tuple(dict.fromkeys(note for note in notes if note != jpeg.OF_CMYK))


def _sizes_of_pieces(page: Any) -> Iterator[int]:  # noqa: ANN401 - tifffile's page
    """Yield the number of bytes of each strip or tile when it is unpacked."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width = page.tilewidth if page.is_tiled else page.imagewidth
    row = -(-width * samples * page.bitspersample // 8)
    height = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    strips = -(-page.imagelength // height)
    for number in range(math.prod(page.chunked)):
        left = page.imagelength - number % strips * height
        yield row * (height if page.is_tiled else min(height, left))


def _colour_model(page: Any) -> str:  # noqa: ANN401 - tifffile's page
    return getattr(page.photometric, "name", str(page.photometric))


def _as_stored(data: bytes, page: Any) -> bytes:  # noqa: ANN401 - tifffile's page
    """Change the tags for which libtiff would turn the pixels, whatever the flags say, or darken them by alpha."""
    changes = {"Orientation": 1, "ExtraSamples": 1}  # upright; colours that were multiplied by their alpha before
    tags = [(page.tags.get(name), value) for name, value in changes.items()]
    patched = bytearray(data)
    for tag, value in tags:
        if tag is not None and tag.dtype in _FORMATS:
            layout = f"{page.parent.byteorder}{tag.count}{_FORMATS[tag.dtype]}"
            struct.pack_into(layout, patched, tag.valueoffset, *(value,) * tag.count)
    return bytes(patched)


def _interpreted(samples: NDArray[Any], page: Any) -> NDArray[Any]:  # noqa: ANN401 - tifffile's page
    """Undo TIFF's colour models: palette, white-is-zero, CMYK."""
    kind = _colour_model(page)
    if kind == "PALETTE":
        places = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
        colours: NDArray[Any] = np.moveaxis(page.colormap, 0, 1)[places]
        return colours
    if kind == "MINISWHITE":
        if samples.dtype.kind not in "ub":  # what white is nothing says, and its own range must not decide
            raise UnreadableImageError(f"white-is-zero TIFF of {samples.dtype} samples is not supported")
        return ~samples
    if kind == "SEPARATED" and samples.ndim == 3 and samples.shape[2] == 4 and samples.dtype == np.uint8:  # noqa: PLR2004
        return jpeg.rgb_of_cmyk(samples, inverted=False)
    if kind not in {"MINISBLACK", "RGB"}:
        raise UnreadableImageError(f"TIFF colour model {kind} is not supported")
    return samples
