"""Reading photographs and masks: bytes read once, hashed, checked, and decoded from memory.

Conversion to what the networks see, uint8 RGB, follows fixed rules, and each one that was used is noted:
grey is repeated into three channels; 16 and 32-bit integers keep their high byte (value >> 8, >> 24); floats within
[0, 1] are multiplied by 255 and rounded, floats within [0, 255] are rounded; an alpha channel is dropped, not blended.
Orientation tags and colour profiles are not applied: pixels are analysed as stored.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nclforensics.data.headers import Header, parse_header, tiff_page
from nclforensics.errors import MissingInputError, UnreadableImageError

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MAX_PIXELS: Final = 1_000_000_000
_SUFFIX_FORMATS: Final = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".webp": "WebP"}
_BYTES_PER_PIXEL: Final = 16  # four channels of float32, the largest a format here stores uncompressed
_UNCOMPRESSED: Final = 1
_Samples = NDArray[Any]

# What OpenCV has to say about a damaged file is in our own error; its log would land on stderr beside it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class LoadedImage:
    """A decoded photograph and what its file was.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, as stored in the file.
        sha256: Hexadecimal SHA-256 of the file's bytes.
        size_bytes: Length of the file.
        format: "JPEG", "PNG", "TIFF", "BMP" or "WebP", from the content.
        notes: The conversions that were applied, and other things a reader of a report should know.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    size_bytes: int
    format: str
    notes: tuple[str, ...]


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Read a photograph as it is stored.

    Args:
        path: A JPEG, PNG, TIFF, BMP or WebP file; only read, never written.
        max_pixels: Images that declare more pixels are refused before anything is decoded.

    Raises:
        MissingInputError: If there is no such path.
        UnreadableImageError: If it is no whole image of these formats, or too large.
    """
    data = _read_bytes(path, max_pixels)
    try:
        header = _checked_header(data, max_pixels)
        samples, notes = _decode(data, header)
        pixels, conversions = _to_rgb8(samples)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"Cannot decode {path}: {error}.") from error
    named = _SUFFIX_FORMATS.get(path.suffix.lower(), "JPEG")
    if path.suffix.lower() in IMAGE_SUFFIXES and named != header.format:
        notes = (f"named {path.suffix}, but the content is {header.format}", *notes)
    return LoadedImage(
        pixels=pixels,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        format=header.format,
        notes=(*header.notes, *notes, *conversions),
    )


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a ground-truth mask: bool (H, W), True = tampered.

    A pixel is tampered where its brightest channel is at least half of full scale (128 of 255, so that the noise of a
    JPEG mask does not count); a mask whose largest value is 1 holds zeros and ones. Alpha is ignored.

    Raises:
        MissingInputError: If there is no such path.
        UnreadableImageError: If it is no whole image.
    """
    data = _read_bytes(path, MAX_PIXELS)
    try:
        samples, _ = _decode(data, _checked_header(data, MAX_PIXELS))
        samples = _without_alpha(samples)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"Cannot decode the mask {path}: {error}.") from error
    levels = samples if samples.ndim == 2 else samples.max(axis=2)  # noqa: PLR2004 - one channel
    if levels.dtype == np.bool_:
        return np.ascontiguousarray(levels)
    full = np.iinfo(levels.dtype).max if levels.dtype.kind in "ui" else 1
    return np.asarray(levels >= (0.5 if levels.max() <= 1 else (full + 1) // 2), dtype=np.bool_)


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from a file's header, without decoding it; raises as `read_image` does."""
    data = _read_bytes(path, MAX_PIXELS)
    try:
        header = _checked_header(data, MAX_PIXELS)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"Cannot decode {path}: {error}.") from error
    return header.height, header.width


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_images(folder: Path) -> list[Path]:
    """Return all files below a folder whose suffix is one of `IMAGE_SUFFIXES` in any case, sorted.

    Raises:
        MissingInputError: If there is no such folder.
    """
    if not folder.is_dir():
        raise MissingInputError(f"Expected a folder of images at {folder}, found none.")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    try:
        if not path.exists():
            raise MissingInputError(f"Expected an image at {path}, found no such file.")
        if not path.is_file():
            raise UnreadableImageError(f"Cannot read {path}: it is a folder or a device, not a file.")
        limit = max_pixels * _BYTES_PER_PIXEL + 2**26  # 64 MiB for metadata
        if path.stat().st_size > limit:
            raise UnreadableImageError(f"Cannot read {path}: the file is larger than {limit} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"Cannot read {path}: {error.strerror or error}.") from error


def _checked_header(data: bytes, max_pixels: int) -> Header:
    header = parse_header(data)
    count = header.width * header.height
    if count <= 0:
        raise UnreadableImageError(f"its header declares {header.width} x {header.height} pixels")
    if count > max_pixels:
        raise UnreadableImageError(
            f"its header declares {header.width} x {header.height} = {count} pixels, the limit is {max_pixels}"
        )
    return header


def _decode(data: bytes, header: Header) -> tuple[_Samples, tuple[str, ...]]:
    """Return the stored samples, (H, W) or (H, W, C) with channels in RGB order, of any bit depth."""
    if header.format == "TIFF":
        samples, notes = _decode_tiff(data)
    else:
        samples, notes = _decode_opencv(data), ()
    if samples.shape[:2] != (header.height, header.width):
        raise UnreadableImageError(f"decoded to {samples.shape[:2]}, its header says {header.height, header.width}")
    return samples, notes


def _decode_opencv(data: bytes) -> _Samples:
    try:
        # IMREAD_UNCHANGED also means: no EXIF rotation, no reduction to 8 bits.
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise UnreadableImageError(f"the decoder refused it ({error})") from error
    if samples is None:
        raise UnreadableImageError("the image data is damaged, or of a kind that the decoder does not know")
    if samples.ndim == 2:  # noqa: PLR2004 - grey
        return samples
    order = [2, 1, 0, 3][: samples.shape[2]] if samples.shape[2] > 2 else [0, 1][: samples.shape[2]]  # noqa: PLR2004
    return samples[:, :, order]


def _decode_tiff(data: bytes) -> tuple[_Samples, tuple[str, ...]]:
    try:
        return _decode_tiff_page(data, tiff_page(data))
    except UnreadableImageError:
        raise
    except Exception as error:  # a hostile file can raise nearly anything in a parser
        raise UnreadableImageError(f"the TIFF data is damaged ({type(error).__name__}: {error})") from error


def _decode_tiff_page(data: bytes, page: Any) -> tuple[_Samples, tuple[str, ...]]:  # noqa: ANN401 - tifffile's page
    kind = _colour_model(page)
    if page.axes not in {"YX", "YXS", "SYX"} or (kind == "PALETTE" and page.colormap is None):
        raise UnreadableImageError(f"TIFF page of axes {page.axes} and colour model {kind} is not supported")
    if page.compression == _UNCOMPRESSED and kind != "YCBCR":
        samples = page.asarray()
        return _interpreted(np.moveaxis(samples, 0, 2) if page.axes == "SYX" else samples, page)
    # Compressed data goes to libtiff, whose buffers are bounded by the declared size: a small file cannot unpack
    # without limit. OpenCV returns wrong pixels for deep pages of other layouts than these.
    if page.bitspersample > 8 and (page.planarconfig != 1 or kind not in {"MINISBLACK", "RGB"}):  # noqa: PLR2004 - bits
        layout = f"{page.bitspersample} bits, colour model {kind}, planar configuration {page.planarconfig}"
        raise UnreadableImageError(f"compressed TIFF of this kind is not supported ({layout})")
    return _decode_opencv(_upright(data, page)), ()


def _colour_model(page: Any) -> str:  # noqa: ANN401 - tifffile's page
    return getattr(page.photometric, "name", str(page.photometric))


def _upright(data: bytes, page: Any) -> bytes:  # noqa: ANN401 - tifffile's page
    """Set the orientation tag to 1, since OpenCV would turn the pixels of a TIFF whatever the flags say."""
    tag = page.tags.get("Orientation")
    if tag is None:
        return data
    patched = bytearray(data)
    struct.pack_into(f"{page.parent.byteorder}H", patched, tag.valueoffset, 1)
    return bytes(patched)


def _interpreted(samples: _Samples, page: Any) -> tuple[_Samples, tuple[str, ...]]:  # noqa: ANN401 - tifffile's page
    """Undo TIFF's colour models: palette, white-is-zero, CMYK."""
    kind = _colour_model(page)
    if kind == "PALETTE" and page.colormap is not None:
        return np.moveaxis(page.colormap, 0, 1)[samples], ("palette expanded",)
    if kind == "MINISWHITE":
        flipped = ~samples if samples.dtype.kind in "ub" else samples.max() - samples
        return flipped, ("white-is-zero inverted",)
    if kind == "SEPARATED" and samples.ndim == 3 and samples.shape[2] == 4 and samples.dtype == np.uint8:  # noqa: PLR2004
        ink = 255 - samples.astype(np.uint16)
        return (ink[:, :, :3] * ink[:, :, 3:] // 255).astype(np.uint8), ("CMYK converted to RGB",)
    if kind not in {"MINISBLACK", "RGB"}:
        raise UnreadableImageError(f"TIFF colour model {kind} is not supported")
    return samples, ()


def _without_alpha(samples: _Samples) -> _Samples:
    if samples.ndim == 2:  # noqa: PLR2004 - grey
        return samples
    channels = samples.shape[2]
    if not 1 <= channels <= 4:  # noqa: PLR2004 - grey, grey + alpha, RGB, RGB + alpha
        raise UnreadableImageError(f"expected 1 to 4 channels, found {channels}")
    return samples[:, :, 0] if channels < 3 else samples[:, :, :3]  # noqa: PLR2004


def _to_rgb8(samples: _Samples) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    notes: list[str] = []
    if samples.ndim == 3 and samples.shape[2] in {2, 4}:  # noqa: PLR2004
        notes.append("alpha channel dropped")
    samples, depth_note = _to_8_bits(_without_alpha(samples))
    notes += depth_note
    if samples.ndim == 2:  # noqa: PLR2004 - grey
        notes.append("grey repeated into three channels")
        samples = np.repeat(samples[:, :, None], 3, axis=2)
    return np.ascontiguousarray(samples), tuple(notes)


def _to_8_bits(samples: _Samples) -> tuple[NDArray[np.uint8], list[str]]:
    if samples.dtype == np.uint8:
        return samples, []
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * 255, ["1 bit scaled to 8"]
    if samples.dtype.kind == "u":
        bits = samples.dtype.itemsize * 8
        return (samples >> (bits - 8)).astype(np.uint8), [f"{bits} bits reduced to 8 (high byte)"]
    if samples.dtype.kind != "f":
        raise UnreadableImageError(f"samples of type {samples.dtype} are not supported")
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= 255):  # noqa: PLR2004 - also false for NaN
        raise UnreadableImageError(f"float samples span {low:g} to {high:g}, expected [0, 1] or [0, 255]")
    scale = 255 if high <= 1 else 1
    return np.rint(samples * scale).astype(np.uint8), [f"floats rounded to 8 bits (times {scale})"]
