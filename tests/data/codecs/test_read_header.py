from __future__ import annotations

import io
import struct
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tifffile

from nclforensics.data.codecs import CODECS, decoder_of, read_header
from nclforensics.errors import UnreadableImageError
from tests.data.hostile import lying_files
from tests.factories import make_image

if TYPE_CHECKING:
    from pathlib import Path


def encoded(suffix: str, *options: int) -> bytes:
    """Return an image of 41 x 30 pixels as a file's content."""
    ok, data = cv2.imencode(suffix, make_image(30, 41), list(options))
    assert ok
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "options", "name"),
    [
        (".jpg", (), "JPEG"),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "JPEG"),
        (".png", (), "PNG"),
        (".bmp", (), "BMP"),
        (".tif", (), "TIFF"),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 60), "WebP"),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101), "WebP"),
    ],
    ids=["jpeg", "progressive", "png", "bmp", "tiff", "webp", "lossless-webp"],
)
def test_header_tells_format_and_size(suffix: str, options: tuple[int, ...], name: str) -> None:
    """Format and size come from the content."""
    header = read_header(encoded(suffix, *options))
    assert (name, 41, 30) == (header.format, header.width, header.height)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
def test_truncated_data_is_refused(suffix: str, share: float) -> None:
    """A file that stops early is refused, wherever it stops."""
    data = encoded(suffix)
    with pytest.raises(UnreadableImageError):
        read_header(data[: int(len(data) * share)])


def test_thumbnail_end_does_not_count_as_end() -> None:
    """The end marker of a thumbnail inside a segment does not hide that the photograph itself is cut off."""
    data = encoded(".jpg")
    thumbnail = b"\xff\xe2" + struct.pack(">H", len(data) + 2) + data
    whole = data[:2] + thumbnail + data[2:]
    assert (read_header(whole).width, read_header(whole).height) == (41, 30)
    with pytest.raises(UnreadableImageError, match="before its end marker"):
        read_header(whole[:-2])


def test_jpeg_without_a_scan_is_refused() -> None:
    """A header and an end marker hold no picture."""
    data = encoded(".jpg")
    with pytest.raises(UnreadableImageError, match="before its end marker"):
        read_header(data[: data.index(b"\xff\xda")] + b"\xff\xd9")


def test_tiff_with_missing_tiles_is_refused() -> None:
    """Decoders leave tiles that the directory does not list black."""
    file = io.BytesIO()
    tifffile.imwrite(file, make_image(64, 64), photometric="rgb", tile=(16, 16))
    data = bytearray(file.getvalue())
    tag = tifffile.TiffFile(io.BytesIO(data)).pages.first.tags["TileOffsets"]
    struct.pack_into("<I", data, tag.offset + 4, 3)  # the number of values: 3 instead of 16
    with pytest.raises(UnreadableImageError, match="3 of 16"):
        read_header(bytes(data))


def test_tiff_with_empty_strips_is_refused(tmp_path: Path) -> None:
    """So do they with strips that are listed as empty, as sparse files have them."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_image(64, 64), photometric="rgb", rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags["StripByteCounts"]
        tag.overwrite((*tag.value[:-1], 0))
    with pytest.raises(UnreadableImageError, match="3 of 4"):
        read_header(path.read_bytes())


def test_damaged_png_chunk_is_refused() -> None:
    """One flipped bit in the pixel data of a PNG fails its checksum."""
    data = bytearray(encoded(".png"))
    data[data.index(b"IDAT") + 30] ^= 1
    with pytest.raises(UnreadableImageError, match="wrong checksum"):
        read_header(bytes(data))


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_orientation_tag_is_noted(order: str) -> None:
    """An orientation tag is not applied but mentioned."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    exif = mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + exif
    data = encoded(".jpg")
    tagged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert read_header(tagged).notes == ("orientation tag 6 not applied: pixels are analysed as stored",)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"])
def test_other_data_is_refused(data: bytes) -> None:
    """Text, nothing, and bare signatures are no images."""
    with pytest.raises(UnreadableImageError):
        read_header(data)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
def test_damaged_header_never_raises_anything_else(suffix: str) -> None:
    """Whatever bytes a hostile file holds, it is parsed or refused."""
    generator = np.random.default_rng(3)
    for _ in range(200):
        data = bytearray(encoded(suffix))
        for place in generator.integers(4, min(len(data), 300), 5):
            data[place] = generator.integers(0, 256)
        try:
            header = read_header(bytes(data))
        except UnreadableImageError:
            continue
        assert isinstance(header.width, int)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("huge.jpg", "65535 x 65535 pixels, too many for"),
        ("lying.png", "30000 x 30000 pixels, too many for"),
        ("huge.gif", "do not hold 65535 x 65535 pixels"),
    ],
)
def test_size_that_the_data_cannot_unpack_to_is_refused(name: str, reason: str) -> None:
    """A header that lies is found out without decoding, whatever the limit of pixels is."""
    with pytest.raises(UnreadableImageError, match=reason):
        read_header(lying_files()[name])


def test_decoders_are_named_with_their_versions() -> None:
    """Every format that this installation can decode names its packages, so that a record says what made its pixels."""
    for name, codec in CODECS.items():
        if all(package == "opencv" or find_spec(package.replace("-", "_")) for package in codec.packages):
            assert decoder_of(name).split(", ") == [f"{package} {_version(package)}" for package in codec.packages]


def _version(package: str) -> str:
    return cv2.__version__ if package == "opencv" else metadata.version(package)
