"""Compressed TIFF data that does not unpack to its picture is refused: libtiff would leave the rest black."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
import tifffile
from PIL import Image

from nclforensics.data.codecs.tiff import decode
from nclforensics.data.codecs.unpacking import LENGTHS, deflated_length, lzw_length, packbits_length
from nclforensics.errors import UnreadableImageError
from tests.data.encodings import saved, tiff
from tests.factories import make_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPRESSIONS: Final = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
NOISE: Final[NDArray[np.uint8]] = np.random.default_rng(0).integers(0, 256, (211, 97, 3), np.uint8)
PICTURES: Final = {
    "noise": NOISE,
    "steps": NOISE // 64 * 64,
    "black": np.zeros_like(NOISE),
    "ramp": np.broadcast_to(np.arange(97, dtype=np.uint8)[:, None], NOISE.shape),
    "pixel": NOISE[:1, :1],
}

BLACK: Final = Image.new("RGB", (80, 60))


def pieces_of(content: bytes) -> tuple[int, list[bytes]]:
    """Return the compression of a TIFF's first page, and its strips."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    places = zip(page.dataoffsets, page.databytecounts, strict=True)
    return int(page.compression), [content[start : start + count] for start, count in places]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", PICTURES)
def test_whole_data_is_measured_to_the_byte(name: str, compression: str) -> None:
    """Tables that are cleared many times, strings of one byte and of thousands: all lengths are those of the pixels."""
    picture = np.ascontiguousarray(PICTURES[name])
    number, pieces = pieces_of(saved(Image.fromarray(picture), "TIFF", compression=compression))
    assert sum(LENGTHS[number](piece, 10**9) for piece in pieces) == picture.size
    assert [LENGTHS[number](piece, 5) for piece in pieces] == [min(5, picture.size)] * len(pieces)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_damaged_strips_are_refused(compression: str) -> None:
    """What the decoder would replace by black is no picture."""
    content = saved(Image.fromarray(make_image(60, 80)), "TIFF", compression=compression)
    _, pieces = pieces_of(content)
    damaged = pieces[0][: len(pieces[0]) // 2].ljust(len(pieces[0]), b"\x80")
    with pytest.raises(UnreadableImageError, match=r"strip or tile 0 unpacks to \d+ of 14400 bytes"):
        decode(content.replace(pieces[0], damaged))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_damaged_jpeg_strips_are_refused(mode: str) -> None:
    """Where libjpeg-turbo has nothing left to read, libtiff goes on with grey and says nothing."""
    picture = Image.fromarray(make_image(60, 80)).convert(mode)
    content = saved(picture, "TIFF", compression="jpeg", quality=90, tiffinfo={278: 16})
    _, pieces = pieces_of(content)
    assert len(pieces) == 4
    assert decode(content)[1] == {"RGB": (), "L": (), "CMYK": ("CMYK converted to RGB",)}[mode]
    damaged = pieces[2][: len(pieces[2]) // 2].ljust(len(pieces[2]), b"\0")
    with pytest.raises(UnreadableImageError, match=r"strip or tile 2 of the TIFF data: .*Premature end of JPEG file"):
        decode(content.replace(pieces[2], damaged))


def test_what_the_decoder_warns_of_in_a_jpeg_strip_is_noted() -> None:
    """Bytes too many before the end marker, as in a JPEG file: all pixels are there."""
    options = {"compression": "jpeg", "quality": 90, "tiffinfo": {278: 16}}
    content, black = (saved(picture, "TIFF", **options) for picture in (Image.fromarray(make_image(60, 80)), BLACK))
    (_, pieces), (_, short) = pieces_of(content), pieces_of(black)
    padded = short[1][:-2].ljust(len(pieces[1]) - 2, b"\0") + short[1][-2:]
    samples, notes = decode(content.replace(pieces[1], padded))
    assert not samples[16:32].any()
    assert len(notes) == 1
    assert "extraneous bytes" in notes[0]


def test_a_wrong_checksum_is_damage() -> None:
    """Deflate data carries one, and no decoder of TIFF looks at it."""
    content = bytearray(tiff(make_image(48, 64), photometric="rgb", tile=(16, 32), compression="deflate"))
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    content[page.dataoffsets[4] + page.databytecounts[4] - 1] ^= 1
    with pytest.raises(UnreadableImageError, match="tile 4 unpacks to 0 of 1536 bytes"):
        decode(bytes(content))


def test_bits_in_reverse_order_are_turned_first() -> None:
    """FillOrder 2, as fax software writes it, is no damage."""
    picture = make_image(40, 56)
    content = saved(Image.fromarray(picture), "TIFF", compression="tiff_adobe_deflate", tiffinfo={266: 2})
    _, (strip,) = pieces_of(saved(Image.fromarray(picture), "TIFF", compression="tiff_adobe_deflate"))
    turned = np.packbits(np.unpackbits(np.frombuffer(strip, np.uint8)), bitorder="little").tobytes()
    assert turned in content
    assert np.array_equal(picture, decode(content)[0])


def test_data_without_end_or_beginning_is_short() -> None:
    """No measure runs past the data, or for ever."""
    for measure in (lzw_length, deflated_length, packbits_length):
        assert measure(b"", 7) == 0
        assert measure(b"\x80" * 3, 7) == 0
