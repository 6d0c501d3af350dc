"""Reading photographs and masks: bytes read once, hashed, checked, and decoded from memory.

Pixels are analysed as stored; `nclforensics.data.conversion` has the rules by which they become uint8 RGB.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.data.codecs import CODECS, decoder_of, read_header
from nclforensics.data.conversion import to_rgb8, without_alpha
from nclforensics.data.quality import image_quality
from nclforensics.errors import MissingInputError, UnreadableImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.codecs.header import Header
    from nclforensics.results import QualityFacts

IMAGE_SUFFIXES: Final = frozenset().union(*(codec.suffixes for codec in CODECS.values()))
MAX_PIXELS: Final = 1_000_000_000
_WHITE: Final = 255
_BYTES_PER_PIXEL: Final = 16  # four channels of float32, the largest a format here stores uncompressed
_BYTES_OF_METADATA: Final = 2**26


@dataclass(frozen=True)
class LoadedImage:
    """A decoded photograph and what its file was.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, as stored in the file.
        sha256: Hexadecimal SHA-256 of the file's bytes.
        size_bytes: Length of the file.
        format: A key of `CODECS`, such as "JPEG", from the content.
        decoder: The packages that decode this format, with versions.
        notes: The conversions that were applied, and other things a reader of a report should know.
        orientation: How viewers are asked to turn the picture, EXIF's 1 (upright) to 8.
        quality: Set by `EncodedImage.examine` alone.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    size_bytes: int
    format: str
    decoder: str
    notes: tuple[str, ...]
    orientation: int = 1
    quality: QualityFacts | None = None


@dataclass(frozen=True)
class EncodedImage:
    """A file that was read and whose header was checked.

    Attributes:
        path: Where it was read.
        data: Its bytes.
        header: What they declare.
    """

    path: Path
    data: bytes
    header: Header

    def decode(self) -> LoadedImage:
        """Return the photograph.

        Raises:
            UnreadableImageError: If it cannot be decoded.
        """
        try:
            samples, notes = _decode(self.data, self.header)
            pixels, conversions = to_rgb8(samples)
        except UnreadableImageError as error:
            raise _cannot_decode(self.path, error) from error
        return LoadedImage(
            pixels=pixels,
            sha256=hashlib.sha256(self.data).hexdigest(),
            size_bytes=len(self.data),
            format=self.header.format,
            decoder=decoder_of(self.header.format),
            notes=(*self._name_notes(), *self.header.notes, *notes, *conversions),
            orientation=self.header.orientation,
        )

    def examine(self) -> LoadedImage:
        """Return the photograph with its quality facts, which take as long as decoding it; errors are `decode`'s."""
        loaded = self.decode()
        return dataclasses.replace(loaded, quality=image_quality(self.data, loaded.pixels, loaded.format))

    def _name_notes(self) -> tuple[str, ...]:
        suffix = self.path.suffix.lower()
        if suffix not in IMAGE_SUFFIXES or suffix in CODECS[self.header.format].suffixes:
            return ()
        return (f"named {self.path.suffix}, but the content is {self.header.format}",)


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read a file and check what it declares; nothing is decoded.

    Args:
        path: Only read, never written.
        max_pixels: Images that declare more pixels are refused.

    Raises:
        MissingInputError: If there is no such path.
        UnreadableImageError: If it is no whole image of a known format, or too large.
    """
    return checked_image(path, _read_bytes(path, max_pixels), max_pixels=max_pixels)


def checked_image(path: Path, data: bytes, *, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Return the bytes of a file that was read, with what they declare; errors are those of `open_image`."""
    try:
        return EncodedImage(path, data, _checked_header(data, max_pixels))
    except UnreadableImageError as error:
        raise _cannot_decode(path, error) from error


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Read a photograph as it is stored; arguments and errors are those of `open_image`."""
    return open_image(path, max_pixels=max_pixels).decode()


def read_samples(path: Path) -> NDArray[Any]:
    """Read an image's samples as they are stored, without alpha: (H, W) or (H, W, 3) in RGB order, of any bit depth.

    Raises:
        MissingInputError: If there is no such path.
        UnreadableImageError: If it is no whole image.
    """
    image = open_image(path)
    try:
        samples, _ = _decode(image.data, image.header)
        return without_alpha(samples)
    except UnreadableImageError as error:
        raise _cannot_decode(path, error) from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a ground-truth mask by the usual rule, `bright_pixels`: bool (H, W), True = tampered; alpha is ignored.

    Raises:
        MissingInputError: If there is no such path.
        UnreadableImageError: If it is no whole image.
    """
    return bright_pixels(read_samples(path))


def bright_pixels(samples: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the brightest channel of (H, W) or (H, W, C) samples reaches half of full scale: bool (H, W).

    That is 128 of 255, so that the noise of a JPEG mask does not count; a mask whose largest value is 1 holds zeros
    and ones, and full scale is 255 where no sample is larger, however many bits the file has for one.
    """
    levels = samples if samples.ndim == 2 else samples.max(axis=2)  # noqa: PLR2004 - one channel
    if levels.dtype == np.bool_:
        return np.ascontiguousarray(levels)
    full = full_scale(levels)
    return np.asarray(levels >= (0.5 if levels.max() <= 1 else (full + 1) // 2), dtype=np.bool_)


def full_scale(levels: NDArray[Any]) -> int:
    """Return what white is in a mask: 255, as of floats in photos, unless samples of a wider type exceed it."""
    return int(np.iinfo(levels.dtype).max) if levels.dtype.kind in "ui" and levels.max() > _WHITE else _WHITE


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from a file's header, without decoding it; raises as `open_image` does."""
    header = open_image(path).header
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
        limit = max_pixels * _BYTES_PER_PIXEL + _BYTES_OF_METADATA
        if path.stat().st_size > limit:
            raise UnreadableImageError(f"Cannot read {path}: the file is larger than {limit} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"Cannot read {path}: {error.strerror or error}.") from error


def _checked_header(data: bytes, max_pixels: int) -> Header:
    header = read_header(data)
    count = header.width * header.height
    if count <= 0:
        raise UnreadableImageError(f"its header declares {header.width} x {header.height} pixels")
    if count > max_pixels:
        raise UnreadableImageError(
            f"its header declares {header.width} x {header.height} = {count} pixels, the limit is {max_pixels}"
        )
    return header


def _decode(data: bytes, header: Header) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the stored samples, (H, W) or (H, W, C) with channels in RGB order, of any bit depth."""
    samples, notes = CODECS[header.format].decode(data)
    if samples.shape[:2] != (header.height, header.width):
        raise UnreadableImageError(f"decoded to {samples.shape[:2]}, its header says {header.height, header.width}")
    return samples, notes


def _cannot_decode(path: Path, error: UnreadableImageError) -> UnreadableImageError:
    reason = " ".join(str(error).split())  # some decoders write several lines
    return UnreadableImageError(f"Cannot decode {path}: {reason.rstrip('.')}.")
