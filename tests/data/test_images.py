from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import tifffile

from nclforensics.data.images import find_images, image_size, read_image, read_mask, sha256_of
from nclforensics.errors import MissingInputError, UnreadableImageError
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE = make_image(30, 41)
GREY = np.repeat(IMAGE[:, :, :1], 3, axis=2)
DEEP = (IMAGE.astype(np.uint16) << 8) | 0xFF  # rounding instead of taking the high byte would change every pixel


def save(path: Path, image: NDArray[Any]) -> Path:
    """Write with OpenCV, which wants BGR."""
    order = {2: None, 3: [2, 1, 0]}[image.ndim] if image.ndim == 2 or image.shape[2] == 3 else [2, 1, 0, 3]
    assert cv2.imwrite(str(path), image if order is None else image[:, :, order])
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_formats_give_back_the_pixels(tmp_path: Path, suffix: str) -> None:
    """RGB order and every value survive."""
    loaded = read_image(save(tmp_path / f"a{suffix}", IMAGE))
    assert np.array_equal(IMAGE, loaded.pixels)
    assert loaded.notes == ()


@pytest.mark.parametrize(("suffix", "tolerance"), [(".jpg", 12), (".webp", 16)])
def test_lossy_formats_give_nearly_the_pixels(tmp_path: Path, suffix: str, tolerance: int) -> None:
    """Channels are not swapped, sizes not transposed."""
    loaded = read_image(save(tmp_path / f"a{suffix}", IMAGE))
    assert float(np.abs(IMAGE.astype(int) - loaded.pixels).mean()) < tolerance


def test_hash_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    """The SHA-256 is the file's, as other tools compute it."""
    path = save(tmp_path / "a.png", IMAGE)
    loaded = read_image(path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (expected, expected, path.stat().st_size) == (loaded.sha256, sha256_of(path), loaded.size_bytes)


@pytest.mark.parametrize(
    ("stored", "expected", "note"),
    [
        (IMAGE[:, :, 0], GREY, "grey repeated into three channels"),
        (DEEP, IMAGE, "16 bits reduced to 8 (high byte)"),
        (np.dstack([IMAGE, IMAGE[:, :, :1] // 2]), IMAGE, "alpha channel dropped"),
    ],
    ids=["grey", "16-bit", "alpha"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_conversions_are_noted(
    tmp_path: Path, stored: NDArray[Any], expected: NDArray[np.uint8], note: str, suffix: str
) -> None:
    """Grey, deep and transparent images become RGB of 8 bits, and the report can say so."""
    loaded = read_image(save(tmp_path / f"a{suffix}", stored))
    assert np.array_equal(expected, loaded.pixels)
    assert note in loaded.notes


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
@pytest.mark.parametrize(
    "stored", [IMAGE, DEEP, (IMAGE / 255).astype(np.float32), IMAGE.astype(np.float32)], ids=["8", "16", "unit", "255"]
)
def test_tiff_layouts_give_the_pixels(
    tmp_path: Path, stored: NDArray[Any], tile: tuple[int, int] | None, compression: str | None
) -> None:
    """Strips and tiles, plain and deflated, integers and floats, all hold the same picture."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", tile=tile, compression=compression)
    assert np.array_equal(IMAGE, read_image(path).pixels)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_with_separate_planes(tmp_path: Path, compression: str | None) -> None:
    """Colour planes one after the other are put together."""
    path = tmp_path / "a.tif"
    planes = np.ascontiguousarray(np.moveaxis(IMAGE, 2, 0))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", compression=compression)
    assert np.array_equal(IMAGE, read_image(path).pixels)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_white_is_zero_tiff_is_inverted(tmp_path: Path, compression: str | None) -> None:
    """The photographic negative of some scanners is undone."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, 255 - IMAGE[:, :, 0], photometric="miniswhite", compression=compression)
    assert np.array_equal(GREY, read_image(path).pixels)


def test_white_is_zero_floats_are_refused(tmp_path: Path) -> None:
    """Nothing says what their white is: to take the largest sample would stretch each picture to its own range."""
    tifffile.imwrite(tmp_path / "a.tif", np.float32(0.5) * np.ones((8, 8), np.float32), photometric="miniswhite")
    with pytest.raises(UnreadableImageError, match="white-is-zero TIFF of float32"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_orientation_is_not_applied(tmp_path: Path, compression: str | None) -> None:
    """Pixels are analysed as stored, whatever a tag says about viewing."""
    path = tmp_path / "a.tif"
    tag = (274, "H", 1, 3, True)
    tifffile.imwrite(path, IMAGE, photometric="rgb", compression=compression, extratags=[tag])
    loaded = read_image(path)
    assert np.array_equal(IMAGE, loaded.pixels)
    assert loaded.notes == ("orientation tag 3 not applied: pixels are analysed as stored",)


def test_first_page_of_a_tiff_is_read(tmp_path: Path) -> None:
    """The other pages are mentioned."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([IMAGE, 255 - IMAGE]), photometric="rgb")
    loaded = read_image(path)
    assert np.array_equal(IMAGE, loaded.pixels)
    assert loaded.notes == ("several pages: first page analysed",)


def test_palette_tiff_is_expanded(tmp_path: Path) -> None:
    """Indices become the palette's colours."""
    path = tmp_path / "a.tif"
    palette = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
    tifffile.imwrite(path, IMAGE[:, :, 0], photometric="palette", colormap=palette.astype(np.uint16) * 257)
    assert np.array_equal(np.moveaxis(palette, 0, 1)[IMAGE[:, :, 0]], read_image(path).pixels)


def test_palette_tiff_of_one_bit_is_expanded(tmp_path: Path) -> None:
    """Two colours are a palette, too."""
    path = tmp_path / "a.tif"
    colours = np.array([[10, 200], [20, 100], [30, 50]], np.uint8)
    palette = (320, "H", 6, tuple((colours.ravel().astype(int) * 257).tolist()), True)
    tifffile.imwrite(path, make_mask(), photometric="minisblack", extratags=[palette])
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    assert np.array_equal(colours.T[make_mask().astype(int)], read_image(path).pixels)


def test_tiff_of_12_bits_is_spread_over_the_full_range(tmp_path: Path) -> None:
    """Samples that are packed without gaps keep their high bits, although the file is not compressed."""
    path = tmp_path / "a.tif"
    bits = np.unpackbits(DEEP[:, :40, :1].astype(">u2").view(np.uint8), axis=2)[:, :, :12]
    tifffile.imwrite(path, np.packbits(bits.reshape(len(bits), -1), axis=1), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(40)
        file.pages.first.tags["BitsPerSample"].overwrite(12)
    assert np.array_equal(GREY[:, :40], read_image(path).pixels)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (np.full((4, 4), np.nan, np.float32), "nan"),
        (np.full((4, 4), 1e6, np.float32), "1e\\+06"),
        (np.zeros((4, 4), np.int16), "int16"),
    ],
    ids=["nan", "hdr", "signed"],
)
def test_tiff_without_a_rule_is_refused(tmp_path: Path, stored: NDArray[Any], reason: str) -> None:
    """Where no fixed rule gives 8 bits, the image is refused instead of stretched."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored)
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_of_another_colour_model_is_refused(tmp_path: Path, compression: str | None) -> None:
    """CIE L*a*b* has no rule here, packed or not; libtiff would convert it by its own, without a note."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, photometric="cielab", compression=compression)
    with pytest.raises(UnreadableImageError, match="colour model CIELAB is not supported"):
        read_image(path)


@pytest.mark.parametrize("header_size", [40, 52])
@pytest.mark.parametrize("red_first", [False, True])
def test_bmp_of_32_bits_keeps_its_colours(tmp_path: Path, *, red_first: bool, header_size: int) -> None:
    """Bit fields, behind the header or in it, name the order of the colours; one that is not read is refused."""
    fields = (0xFF, 0xFF00, 0xFF0000) if red_first else (0xFF0000, 0xFF00, 0xFF)
    pixels = np.dstack([IMAGE if red_first else IMAGE[:, :, ::-1], np.full((30, 41, 1), 255, np.uint8)])
    header = struct.pack("<2sIHHI", b"BM", 66 + pixels.size, 0, 0, 66)
    header += struct.pack("<IiiHHIIiiII3I", header_size, 41, -30, 1, 32, 3, pixels.size, 0, 0, 0, 0, *fields)
    (tmp_path / "a.bmp").write_bytes(header + pixels.tobytes())
    if red_first:
        with pytest.raises(UnreadableImageError, match="another order than blue, green, red"):
            read_image(tmp_path / "a.bmp")
    else:
        assert np.array_equal(IMAGE, read_image(tmp_path / "a.bmp").pixels)


@pytest.mark.parametrize("bits", [1, 8, 24])
def test_bmp_of_os2_is_refused(tmp_path: Path, bits: int) -> None:
    """OpenCV would give its colours as grey, without a word."""
    palette = b"" if bits == 24 else bytes(3 * 2**bits)
    rows = bytes((41 * bits + 31) // 32 * 4 * 30)
    start = 26 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + struct.pack("<IHHHH", 12, 41, 30, 1, bits)
    (tmp_path / "a.bmp").write_bytes(header + palette + rows)
    with pytest.raises(UnreadableImageError, match=r"OS/2 1 wrote it .* not supported"):
        read_image(tmp_path / "a.bmp")


def test_wrong_suffix_is_noted(tmp_path: Path) -> None:
    """A PNG that is called .jpg is read as what it is."""
    path = save(tmp_path / "a.png", IMAGE).rename(tmp_path / "a.jpg")
    loaded = read_image(path)
    assert (loaded.format, loaded.notes) == ("PNG", ("named .jpg, but the content is PNG",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"not an image", "no known format"), (b"\xff\xd8\xff\xe0", "stops")],
    ids=["empty", "text", "stub"],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    """The message names the file and what is wrong with it."""
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=rf"x\.jpg: .*{reason}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    """OpenCV would fill the rest with grey and go on."""
    path = save(tmp_path / f"a{suffix}", IMAGE)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableImageError, match="before its end marker"):
        read_image(path)


def test_folder_and_missing_file_are_told_apart(tmp_path: Path) -> None:
    """A folder named like an image is unreadable, no path at all is a missing input."""
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    with pytest.raises(UnreadableImageError, match="a folder"):
        read_image(folder)
    with pytest.raises(MissingInputError):
        read_image(tmp_path / "none.jpg")


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size in the header decides, so that nothing large is ever unpacked."""
    path = save(tmp_path / "a.png", IMAGE)
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(UnreadableImageError, match="41 x 30 = 1230 pixels, the limit is 1229"):
        read_image(path, max_pixels=1229)


def test_image_size_needs_no_decoding(tmp_path: Path) -> None:
    """Height first, as in arrays."""
    assert image_size(save(tmp_path / "a.jpg", IMAGE)) == (30, 41)


@pytest.mark.parametrize(
    "stored",
    [
        make_mask().astype(np.uint8) * 255,
        make_mask().astype(np.uint8),
        np.where(make_mask(), 128, 127).astype(np.uint8),
        make_mask().astype(np.uint16) * 65535,
        np.dstack([make_mask() * 0, make_mask() * 0, make_mask() * 200]).astype(np.uint8),
        np.dstack([make_mask() * 255] * 3 + [np.full((48, 64), 255)]).astype(np.uint8),
    ],
    ids=["0-255", "0-1", "127-128", "16-bit", "one-colour", "alpha"],
)
def test_mask_values_are_read_by_one_rule(tmp_path: Path, stored: NDArray[Any]) -> None:
    """Half of full scale decides, whatever the depth; 0/1 masks are masks too."""
    path = tmp_path / "m.png"
    assert cv2.imwrite(str(path), stored)
    assert np.array_equal(make_mask(), read_mask(path))


def test_half_of_255_decides_for_a_mask_of_floats_too(tmp_path: Path) -> None:
    """A float mask that was resized smoothly is not tampered wherever it reaches 1."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.where(make_mask(), 128, 127).astype(np.float32))
    assert np.array_equal(make_mask(), read_mask(path))


def test_jpeg_mask_noise_does_not_count(tmp_path: Path) -> None:
    """Compression noise around zero stays authentic."""
    path = tmp_path / "m.jpg"
    cv2.imwrite(str(path), make_mask().astype(np.uint8) * 255, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert int((read_mask(path) ^ make_mask()).sum()) <= 8


def test_find_images_is_recursive_sorted_and_ignores_case(tmp_path: Path) -> None:
    """Folders whose name ends like an image are not images."""
    for name in ("b.JPG", "sub/a.tiff", "a.webp", "notes.txt", "sub/c.PnG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.webp", "b.JPG", "sub/a.tiff", "sub/c.PnG"]
    with pytest.raises(MissingInputError):
        find_images(tmp_path / "none")
