"""One small picture in every variation of every format that is read, made from scratch."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import numpy as np
import pillow_heif
import tifffile
from PIL import Image

from tests.factories import make_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

HEIGHT, WIDTH = 50, 67  # odd, so that blocks and bytes are cut at the right and lower edges
PICTURE: Final = make_image(HEIGHT, WIDTH)
GREY: Final = np.ascontiguousarray(PICTURE[:, :, 0])
DEEP: Final = (PICTURE.astype(np.uint16) << 8) | 0x37
ALPHA: Final = np.dstack([PICTURE, np.where(GREY > 99, 255, 30).astype(np.uint8)])
INKS: Final = np.dstack([255 - PICTURE, GREY // 3])


def encodings() -> dict[str, bytes]:
    """Return the picture encoded, by name with suffix."""
    return {**_jpegs(), **_pngs(), **_tiffs(), **_others(), "sensor.dng": dng()}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    """Return an image as a file's content, by Pillow."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(
    samples: NDArray[Any],
    *,
    byteorder: Literal["<", ">"] | None = None,
    bigtiff: bool = False,
    **options: Any,  # noqa: ANN401 - tifffile's options
) -> bytes:
    """Return samples as a TIFF file's content, by tifffile."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byteorder, bigtiff=bigtiff) as writer:
        writer.write(samples, **options)
    return file.getvalue()


def png(rows: Iterable[bytes], *, depth: int, colour: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """Return packed rows as a PNG file's content: every bit depth, without filters.

    Args:
        rows: One after the other.
        depth: Bits a sample.
        colour: PNG's colour type.
        size: Width and height that the header declares.
    """
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def packed(levels: NDArray[np.uint8], bits: int) -> list[bytes]:
    """Return the rows of (H, W) levels with so many bits each, from the highest bit of a byte down."""
    planes = np.unpackbits(levels[:, :, None], axis=2)[:, :, 8 - bits :]
    return [np.packbits(row.ravel()).tobytes() for row in planes]


def dng() -> bytes:
    """Return a minimal camera RAW file: a Bayer mosaic of 16 bits in a DNG, taken upright with the camera turned."""
    mosaic = np.empty((HEIGHT // 2 * 2, WIDTH // 2 * 2), np.uint16)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = DEEP[row : mosaic.shape[0] : 2, column : mosaic.shape[1] : 2, channel]
    identity = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags = [
        (0x0112, "H", 1, 6, True),
        (0x828D, "H", 2, (2, 2), True),  # the mosaic repeats after 2 x 2
        (0x828E, "B", 4, (0, 1, 1, 2), True),  # red, green, green, blue
        (0xC612, "B", 4, (1, 4, 0, 0), True),  # DNG 1.4
        (0xC614, "s", 0, "Test Camera", True),
        (0xC61D, "H", 1, 65535, True),  # white
        (0xC621, "2i", 9, identity, True),  # the camera's colours are those of XYZ
        (0xC628, "2I", 3, (1, 1, 1, 1, 1, 1), True),
    ]
    return tiff(mosaic, photometric="cfa", extratags=tags, metadata=None)


def _jpegs() -> dict[str, bytes]:
    picture = Image.fromarray(PICTURE)
    inks = Image.fromarray(INKS, mode="CMYK")
    cmyk = saved(inks, "JPEG", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    restarts = cv2.imencode(".jpg", PICTURE[:, :, ::-1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1]
    return {
        "baseline.jpg": saved(picture, "JPEG", subsampling=0),
        "420.jpg": saved(picture, "JPEG", subsampling=2),
        "422.jpeg": saved(picture, "JPEG", subsampling=1),
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
        "restarts.jpg": bytes(restarts),
        "grey-400.jpg": saved(Image.fromarray(GREY), "JPEG"),
        "cmyk-adobe.jpg": cmyk,
        "ycck-adobe.jpg": _as_ycck(cmyk),
        "turned.jpg": saved(picture, "JPEG", exif=turned),
        "pair.mpo": saved(picture, "MPO", save_all=True, append_images=[picture]),
    }


def _as_ycck(cmyk: bytes) -> bytes:
    """Return a CMYK JPEG whose Adobe segment says YCCK: other colours, but the same path of decoding."""
    place = cmyk.index(b"Adobe") + 11
    return cmyk[:place] + b"\x02" + cmyk[place + 1 :]


def _pngs() -> dict[str, bytes]:
    picture, grey = Image.fromarray(PICTURE), Image.fromarray(GREY)
    palette, negative = picture.quantize(64), Image.fromarray(255 - PICTURE)
    files = {
        f"grey-{bits}.png": png(packed(GREY >> np.uint8(8 - bits), bits), depth=bits, colour=0) for bits in (1, 2, 4)
    }
    files["grey-16.png"] = png([row.astype(">u2").tobytes() for row in DEEP[:, :, 0]], depth=16, colour=0)
    files["rgb-16.png"] = png([row.astype(">u2").tobytes() for row in DEEP], depth=16, colour=2)
    return files | {
        "rgb.png": saved(picture, "PNG"),
        "grey.png": saved(grey, "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette-4.png": saved(picture.quantize(12), "PNG", bits=4),
        "palette-trns.png": saved(palette, "PNG", transparency=3),
        "rgb-trns.png": saved(picture, "PNG", transparency=(1, 2, 3)),
        "rgba.png": saved(Image.fromarray(ALPHA), "PNG"),
        "grey-alpha.png": saved(Image.fromarray(ALPHA[:, :, [0, 3]], mode="LA"), "PNG"),
        "interlaced.png": _interlaced(),
        "animated.png": saved(picture, "PNG", save_all=True, append_images=[negative]),
        "still-apart.png": saved(
            picture, "PNG", save_all=True, default_image=True, append_images=[negative, picture.rotate(180)]
        ),
    }


def _interlaced() -> bytes:
    """Return an Adam7 PNG, which neither Pillow nor OpenCV writes: seven coarser pictures, one after the other."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    parts = (PICTURE[top::down, left::right] for top, down, left, right in passes)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for part in parts for row in part))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", content) + png_chunk(b"IEND", b"")


def _tiffs() -> dict[str, bytes]:
    picture = Image.fromarray(PICTURE)
    palette = picture.quantize(64)
    rgb: dict[str, Any] = {"photometric": "rgb"}
    files = {
        "plain.tif": tiff(PICTURE, **rgb),
        "big-endian.tif": tiff(DEEP, byteorder=">", **rgb),
        "bigtiff.tif": tiff(PICTURE, bigtiff=True, **rgb),
        "bigtiff-deflate.btf": tiff(DEEP, bigtiff=True, byteorder=">", compression="deflate", **rgb),
        "16-deflate-predictor.tif": tiff(DEEP, compression="deflate", predictor=True, **rgb),
        "16-tiled.tif": tiff(DEEP, tile=(16, 32), **rgb),
        "float-tiled-deflate.tif": tiff(
            (PICTURE / 255).astype(np.float32), tile=(16, 16), compression="deflate", **rgb
        ),
        "float-255.tif": tiff(PICTURE.astype(np.float32), **rgb),
        "half-float.tif": tiff((PICTURE / 255).astype(np.float16), **rgb),
        "double.tif": tiff(PICTURE / 255, compression="deflate", **rgb),
        "32-bit.tif": tiff(PICTURE.astype(np.uint32) << 24, **rgb),
        "pages.tif": tiff(np.stack([PICTURE, 255 - PICTURE]), **rgb),
        "planes.tif": tiff(np.ascontiguousarray(np.moveaxis(PICTURE, 2, 0)), planarconfig="separate", **rgb),
        "rgba.tif": tiff(ALPHA, extrasamples=["unassalpha"], **rgb),
        "rgba-deflate.tif": tiff(ALPHA, extrasamples=["unassalpha"], compression="deflate", **rgb),
        "rgba-lzw.tif": saved(Image.fromarray(ALPHA), "TIFF", compression="tiff_lzw"),
        "white-is-zero.tif": tiff(255 - GREY, photometric="miniswhite"),
        "cmyk.tif": saved(Image.fromarray(INKS, mode="CMYK"), "TIFF"),
        "cmyk-lzw.tif": saved(Image.fromarray(INKS, mode="CMYK"), "TIFF", compression="tiff_lzw"),
        "1-bit.tif": saved(Image.fromarray(GREY > 127), "TIFF"),
        "1-bit-group4.tif": saved(Image.fromarray(GREY > 127), "TIFF", compression="group4"),
        "ycbcr-jpeg.tif": saved(picture.convert("YCbCr"), "TIFF", compression="jpeg", quality=95),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg", quality=95),
    }
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        files[f"rgb-{name}.tif"] = saved(picture, "TIFF", compression=name)
        files[f"palette-{name}.tif"] = saved(palette, "TIFF", compression=name)
    return files


def _others() -> dict[str, bytes]:
    picture, negative = Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)
    palette = picture.quantize(64)
    deep = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), DEEP.tobytes())
    return {
        "rgb.bmp": saved(picture, "BMP"),
        "rgba.bmp": bytes(cv2.imencode(".bmp", ALPHA[:, :, [2, 1, 0, 3]])[1]),
        "palette.bmp": saved(palette, "BMP"),
        "1-bit.bmp": saved(Image.fromarray(GREY > 127), "BMP"),
        "lossy.webp": saved(picture, "WEBP", quality=90),
        "lossless.webp": saved(picture, "WEBP", lossless=True),
        "alpha.webp": saved(Image.fromarray(ALPHA), "WEBP", lossless=True, exact=True),
        "animated.webp": saved(picture, "WEBP", lossless=True, save_all=True, append_images=[negative]),
        "palette.gif": saved(palette, "GIF"),
        "transparent.gif": saved(palette, "GIF", transparency=3),
        "animated.gif": saved(palette, "GIF", save_all=True, append_images=[negative.quantize(64)]),
        "picture.avif": saved(picture, "AVIF", quality=95),
        "picture.heic": _heic(pillow_heif.from_pillow(picture)),
        "deep.heic": _heic(deep),
    }


def _heic(file: Any) -> bytes:  # noqa: ANN401 - pillow-heif's file
    content = io.BytesIO()
    file.save(content, quality=95)
    return content.getvalue()
