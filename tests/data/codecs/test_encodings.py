"""Every variation of every format gives the same picture, and says how."""

from __future__ import annotations

import io
import struct
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from nclforensics.data.codecs import CODECS, bands, read_header
from nclforensics.data.images import LoadedImage, read_image
from nclforensics.errors import UnreadableImageError
from tests.data.encodings import ALPHA, DEEP, GREY, HEIGHT, INKS, PICTURE, WIDTH, dng, encodings, saved, tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENCODINGS: Final = encodings()
LOSSY: Final = {"JPEG", "AVIF", "HEIC", "RAW"}
PALETTE: Final[NDArray[np.uint8]] = np.asarray(Image.fromarray(PICTURE).quantize(64).convert("RGB"))
OF_INKS: Final[NDArray[np.uint8]] = (
    (255 - INKS[:, :, :3].astype(int)) * (255 - INKS[:, :, 3:].astype(int)) // 255
).astype(np.uint8)


def load(tmp_path: Path, name: str, content: bytes) -> LoadedImage:
    """Write a file and read it."""
    path = tmp_path / name
    path.write_bytes(content)
    return read_image(path)


def grey_of(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey in three channels."""
    return np.repeat(levels[:, :, None], 3, axis=2)


def expected(name: str) -> NDArray[np.uint8]:
    """Return the pixels that a variation without loss holds."""
    special = {
        "grey-1.png": grey_of(GREY // 128 * 255),
        "grey-2.png": grey_of(GREY // 64 * 85),
        "grey-4.png": grey_of(GREY // 16 * 17),
        "palette-4.png": np.asarray(Image.fromarray(PICTURE).quantize(12).convert("RGB")),
        "transparent.gif": PALETTE,
        "animated.gif": PALETTE,
    }
    families = {
        "1-bit": special["grey-1.png"],
        "palette": PALETTE,
        "cmyk": OF_INKS,
        "grey": grey_of(GREY),
        "white": grey_of(GREY),
    }
    family = next((pixels for start, pixels in families.items() if name.startswith(start)), PICTURE)
    return special.get(name, family)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if not name.endswith((".jpg", ".jpeg", ".mpo", ".dng"))])
def test_variations_give_the_picture(tmp_path: Path, name: str) -> None:
    """Exactly, where the format keeps every value; nearly, where it does not."""
    loaded = load(tmp_path, name, ENCODINGS[name])
    assert loaded.pixels.shape == (HEIGHT, WIDTH, 3)
    difference = np.abs(loaded.pixels.astype(int) - expected(name))
    if loaded.format in LOSSY or name in {"jpeg.tif", "ycbcr-jpeg.tif", "lossy.webp"}:
        assert difference.mean() < 6
    else:
        assert difference.max() == 0


@pytest.mark.parametrize("name", ["baseline.jpg", "420.jpg", "422.jpeg", "progressive.jpg", "restarts.jpg", "pair.mpo"])
def test_jpegs_give_the_pixels_that_pillow_gives(tmp_path: Path, name: str) -> None:
    """Another binding of libjpeg-turbo, told nothing but the file, comes to the same pixels."""
    loaded = load(tmp_path, name, ENCODINGS[name])
    with Image.open(tmp_path / name) as image:
        assert np.array_equal(np.asarray(image), loaded.pixels)


@pytest.mark.parametrize("name", ["cmyk-adobe.jpg", "ycck-adobe.jpg"])
def test_adobe_inks_are_inverted(tmp_path: Path, name: str) -> None:
    """Adobe writes 255 for no ink; Pillow undoes that, and the documented formula does the rest."""
    loaded = load(tmp_path, name, ENCODINGS[name])
    with Image.open(tmp_path / name) as image:
        inks = 255 - np.asarray(image).astype(int)
    assert np.array_equal(inks[:, :, :3] * inks[:, :, 3:] // 255, loaded.pixels)
    assert loaded.notes == ("CMYK converted to RGB",)


def test_inks_without_an_adobe_segment_are_not_inverted(tmp_path: Path) -> None:
    """Then 0 is no ink, as in TIFF."""
    content = ENCODINGS["cmyk-adobe.jpg"]
    place = content.index(b"\xff\xee")
    plain = content[:place] + content[place + 16 :]
    loaded = load(tmp_path, "cmyk.jpg", plain)
    inverted = load(tmp_path, "adobe.jpg", content)
    assert abs(loaded.pixels.mean() - inverted.pixels.mean()) > 20


def test_jpeg_of_one_component_is_grey(tmp_path: Path) -> None:
    """4:0:0: the component is repeated."""
    loaded = load(tmp_path, "a.jpg", ENCODINGS["grey-400.jpg"])
    assert np.all(loaded.pixels == loaded.pixels[:, :, :1])
    assert loaded.notes == ("grey repeated into three channels",)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("pair.mpo", "several pictures (MPO): first one analysed"),
        ("animated.png", "animated: first frame analysed"),
        ("still-apart.png", "animated: still image analysed, which is no frame of the animation"),
        ("animated.webp", "animated: first frame analysed"),
        ("animated.gif", "animated: first frame analysed"),
        ("pages.tif", "several pages: first page analysed"),
        ("palette.png", "palette expanded"),
        ("palette.gif", "palette expanded"),
        ("palette-tiff_lzw.tif", "palette expanded"),
        ("palette-trns.png", "alpha channel dropped"),
        ("rgba.tif", "alpha channel dropped"),
        ("transparent.gif", "transparency ignored"),
        ("grey-2.png", "2 bits scaled to 8"),
        ("rgb-16.png", "16 bits reduced to 8 (high byte)"),
        ("deep.heic", "16 bits reduced to 8 (high byte)"),
        ("32-bit.tif", "32 bits reduced to 8 (high byte)"),
        ("half-float.tif", "floats rounded to 8 bits (times 255)"),
        ("cmyk-lzw.tif", "CMYK converted to RGB"),
        ("ycbcr-jpeg.tif", "YCbCr converted to RGB"),
    ],
)
def test_conversions_and_choices_are_noted(tmp_path: Path, name: str, note: str) -> None:
    """A report can say what was done to the stored values, and what of the file was not looked at."""
    assert note in load(tmp_path, name, ENCODINGS[name]).notes


def test_true_colour_needs_no_note(tmp_path: Path) -> None:
    """What is RGB of 8 bits already is taken as it is."""
    for name in ("baseline.jpg", "rgb.png", "plain.tif", "rgb.bmp", "lossless.webp", "picture.avif", "picture.heic"):
        assert load(tmp_path, name, ENCODINGS[name]).notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_exposed_and_not_applied(tmp_path: Path, kind: str) -> None:
    """Pixels stay as stored, and whoever shows them can turn them."""
    exif = Image.Exif()
    exif[0x0112] = 8
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load(tmp_path, "a", saved(Image.fromarray(PICTURE), kind, exif=exif, **options))
    assert (loaded.orientation, loaded.pixels.shape) == (8, (HEIGHT, WIDTH, 3))
    assert loaded.notes == ("orientation tag 8 not applied: pixels are analysed as stored",)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_a_depth_that_is_not_read_is_no_damage(tmp_path: Path, bits: int) -> None:
    """The reason says what is not supported; the file is whole."""
    entry = struct.pack("<HHIH", 258, 3, 1, 8)
    content = tiff(GREY, photometric="minisblack").replace(entry, entry[:-2] + struct.pack("<H", bits))
    with pytest.raises(UnreadableImageError, match=rf"MINISBLACK with {bits} bits a sample is not supported"):
        load(tmp_path, "a.tif", content)


def renumbered(content: bytes, old: int, new: int) -> bytes:
    """Return a little-endian TIFF with another number for one of its tags, which stay sorted."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    entries = list(struct.iter_unpack("<H10s", content[start + 2 : start + 2 + 12 * count]))
    tags = sorted((new if number == old else number, rest) for number, rest in entries)
    return (
        content[: start + 2] + b"".join(struct.pack("<H10s", *tag) for tag in tags) + content[start + 2 + 12 * count :]
    )


def test_a_palette_of_two_colours(tmp_path: Path) -> None:
    """Plain, its colours are taken; compressed it is refused, since OpenCV turns them into grey."""
    colours = np.array([[60000, 1000, 30000], [500, 50000, 20000]], np.uint16)
    levels, model = GREY > 127, struct.pack("<HHI", 262, 3, 1)
    # tifffile does not write the number of bits where it is 1; libtiff wants it beside a palette.
    tags = [(320, "H", 6, tuple(colours.T.ravel().tolist()), True), (65000, "H", 1, 1, True)]
    files = [
        renumbered(
            tiff(levels, photometric="minisblack", byteorder="<", compression=compression, extratags=tags), 65000, 258
        ).replace(model + b"\1", model + b"\3")
        for compression in (None, "deflate")
    ]
    loaded = load(tmp_path, "a.tif", files[0])
    assert np.array_equal(loaded.pixels, (colours >> 8).astype(np.uint8)[levels.astype(int)])
    with pytest.raises(UnreadableImageError, match="palette of two colours is not supported"):
        load(tmp_path, "b.tif", files[1])


def test_raw_is_developed_and_not_turned(tmp_path: Path) -> None:
    """The mosaic of the sensor becomes the picture; the recipe is in the notes, the camera's position beside it."""
    loaded = load(tmp_path, "a.dng", dng())
    height, width = loaded.pixels.shape[:2]
    assert (loaded.format, loaded.orientation, height, width) == ("RAW", 6, HEIGHT // 2 * 2, WIDTH // 2 * 2)
    assert any(note.startswith("developed from sensor data") for note in loaded.notes)
    for channel in range(3):
        levels = loaded.pixels[:, :, channel].ravel(), DEEP[:height, :width, channel].ravel()
        assert np.corrcoef(*levels)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("pillow_heif", "picture.heic", "heif"), ("rawpy", "sensor.dng", "raw")]
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, extra: str
) -> None:
    """The reason says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnreadableImageError, match=rf"pip install 'nclforensics\[{extra}\]'"):
        load(tmp_path, name, ENCODINGS[name])


@pytest.mark.parametrize("name", ENCODINGS)
def test_files_are_named_by_their_codec(name: str) -> None:
    """Each codec knows the suffixes of its files, and takes no other's."""
    header = read_header(ENCODINGS[name])
    assert "." + name.rpartition(".")[2] in CODECS[header.format].suffixes


def test_unusual_chroma_subsampling_is_decoded_without_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libjpeg-turbo's simple interface refuses factors that it has no name for; the full one decodes them."""

    def refuse(_: bytes) -> None:
        raise ValueError("tjDecompressHeader3(): Could not determine subsampling level of JPEG image")

    usual = load(tmp_path, "a.jpg", ENCODINGS["420.jpg"])
    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", refuse)
    loaded = load(tmp_path, "a.jpg", ENCODINGS["420.jpg"])
    assert np.array_equal(usual.pixels, loaded.pixels)
    assert loaded.notes == ("unusual chroma subsampling: decoded without a check for damaged data",)


def test_inks_of_unusual_sampling_are_read_as_adobe_writes_them_or_not_at_all(tmp_path: Path) -> None:
    """OpenCV, which decodes such files, takes every one for Adobe's: another's would come out inverted."""
    inks = Image.fromarray(np.full((16, 16, 4), (200, 40, 10, 30), np.uint8), "CMYK")
    stream = io.BytesIO()
    inks.save(stream, "JPEG", subsampling=2, quality=100)
    content = stream.getvalue()
    loaded = load(tmp_path, "a.jpg", content)
    assert "CMYK converted to RGB" in loaded.notes
    assert np.abs(loaded.pixels[0, 0].astype(int) - (48, 189, 216)).max() <= 3
    start = content.index(b"\xff\xee")
    bare = content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4], "big") :]
    with pytest.raises(UnreadableImageError, match="as Adobe writes it"):
        load(tmp_path, "a.jpg", bare)


def test_damaged_jpeg_data_is_refused(tmp_path: Path) -> None:
    """A hole in the middle, which decoders fill with grey, is seen although the end marker is there."""
    content = ENCODINGS["baseline.jpg"]
    middle = content.index(b"\xff\xda") + 200
    with pytest.raises(UnreadableImageError, match="damaged"):
        load(tmp_path, "a.jpg", content[:middle] + content[middle + 300 : -2] + b"\xff\xd9")


def test_padding_before_the_end_marker_is_noted(tmp_path: Path) -> None:
    """Some cameras write it; all pixels are there."""
    content = ENCODINGS["baseline.jpg"]
    loaded = load(tmp_path, "a.jpg", content[:-2] + bytes(500) + content[-2:])
    assert np.array_equal(load(tmp_path, "b.jpg", content).pixels, loaded.pixels)
    assert len(loaded.notes) == 1
    assert "extraneous bytes" in loaded.notes[0]


@pytest.mark.parametrize("name", ["rgb.png", "rgb-16.png", "rgba.bmp", "cmyk.tif", "float-255.tif", "grey.png"])
def test_conversion_in_bands_of_rows_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Large images are converted a few rows at a time; here each band has three rows of the small one."""
    monkeypatch.setattr(bands, "BAND_PIXELS", 3 * WIDTH)
    assert np.array_equal(expected(name), load(tmp_path, name, ENCODINGS[name]).pixels)


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    """Colours below transparency are evidence too."""
    loaded = load(tmp_path, "a.png", saved(Image.fromarray(ALPHA), "PNG"))
    assert np.array_equal(PICTURE, loaded.pixels)
