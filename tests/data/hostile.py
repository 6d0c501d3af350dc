"""Hostile files by the hundred: damaged, lying, misnamed, oddly named, and things that are no files."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests.data.encodings import GREY, HEIGHT, PICTURE, WIDTH, encodings, png, png_chunk, tiff

if TYPE_CHECKING:
    from pathlib import Path

# One of each kind of container is damaged in many ways.
DAMAGED: Final = (
    "baseline.jpg",
    "progressive.jpg",
    "restarts.jpg",
    "cmyk-adobe.jpg",
    "rgb.png",
    "interlaced.png",
    "rgb-tiff_lzw.tif",
    "float-tiled-deflate.tif",
    "jpeg.tif",
    "rgb.bmp",
    "lossy.webp",
    "lossless.webp",
    "palette.gif",
    "picture.avif",
    "picture.heic",
    "sensor.dng",
)
CUTS: Final = (0.01, 0.1, 0.3, 0.6, 0.9, 0.99)  # shares of a file's length
FLIPS: Final = 8  # files with one bit flipped, of each
ODD_NAMES: Final = (
    b"new\nline.png",
    b"\"double\" and 'single'.png",
    b"not-utf-8-\xff\xfe.png",
    b"<img src=x onerror=alert(1)>.png",
    b"=cmd|' -C calc'!A0.png",
    b"-rf.png",
    b"  blank .png",
    b"\xe2\x80\xaegnp.gpj.png",  # right-to-left override
    b"percent%s%n.png",
    b"tab\tcontrol\x1b[31m.png",
    b"x" * 240 + b".png",
)


def truncated_files() -> dict[str, bytes]:
    """Return files that stop early; none of them may be analysed."""
    whole = encodings()
    return {
        f"cut-{round(share * 100)}-{name}": whole[name][: int(len(whole[name]) * share)]
        for name in DAMAGED
        for share in CUTS
    }


def flipped_files() -> dict[str, bytes]:
    """Return files with one bit flipped anywhere, half of them within the first 200 bytes."""
    whole, generator = encodings(), np.random.default_rng(5)
    files = {}
    for name in DAMAGED:
        for number in range(FLIPS):
            content = bytearray(whole[name])
            end = len(content) if number % 2 else min(len(content), 200)
            content[generator.integers(end)] ^= 1 << int(generator.integers(8))
            files[f"flip-{number}-{name}"] = bytes(content)
    return files


def lying_files() -> dict[str, bytes]:
    """Return bombs, headers that declare what is not there, and files of nothing; none of them may be analysed."""
    whole = encodings()
    jpeg, gif = whole["baseline.jpg"], whole["palette.gif"]
    frame = jpeg.index(b"\xff\xc0") + 5
    bmp = bytearray(whole["rgb.bmp"])
    struct.pack_into("<ii", bmp, 18, 2**31 - 1, -(2**31))
    webp = bytearray(whole["animated.webp"])
    webp[24:30] = b"\xff" * 6
    loop = bytearray(whole["plain.tif"])
    struct.pack_into("<I", loop, 4, len(loop) - 900)  # the first directory is said to be in the pixels
    return {
        "zero.jpg": b"",
        "zeros.png": bytes(5000),
        "text.tif": b"not an image\n" * 50,
        "one-byte.webp": b"R",
        "signature.jpg": b"\xff\xd8\xff",
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "signature.gif": b"GIF89a",
        "signature.heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
        "signature.avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
        "signature.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        "signature.raf": b"FUJIFILMCCD-RAW 0201" + bytes(100),
        "markers.jpg": b"\xff\xd8" + b"\xff" * 5000,
        "no-scan.jpg": jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9",
        "huge.jpg": jpeg[:frame] + b"\xff\xff\xff\xff" + jpeg[frame + 4 :],
        "no-height.jpg": jpeg[:frame] + b"\0\0" + jpeg[frame + 2 :],
        "huge.png": png([b"\0" * 3 * WIDTH] * HEIGHT, depth=8, colour=2, size=(2**31 - 1, 2**31 - 1)),
        "lying.png": png([b"\0" * 3 * WIDTH] * HEIGHT, depth=8, colour=2, size=(30_000, 30_000)),
        "too-short.png": png([bytes(3 * WIDTH)] * (HEIGHT // 2), depth=8, colour=2),
        "bomb.png": png([bytes(1250)] * 10_000, depth=1, colour=0, size=(10_000, 10_000)),
        "colour-type.png": png([b"\0" * WIDTH] * HEIGHT, depth=8, colour=5),
        "no-data.png": b"\x89PNG\r\n\x1a\n" + _png_header() + png_chunk(b"IEND", b""),
        "garbage.png": b"\x89PNG\r\n\x1a\n" + _png_header() + png_chunk(b"IDAT", b"x" * 999) + png_chunk(b"IEND", b""),
        "huge.bmp": bytes(bmp),
        "huge.webp": bytes(webp),
        "huge.gif": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "no-frame.gif": gif[:13] + b";",
        "huge.tif": _tiff_with(256, 2**31 - 1),
        "tall.tif": _tiff_with(257, 2**31 - 1),
        "strips.tif": _tiff_with(279, 2**32 - 1),
        "outside.tif": _tiff_with(273, 2**32 - 1),
        "bits.tif": _tiff_with(258, 1000),
        "directory.tif": bytes(loop),
        "nan.tif": tiff(np.full((HEIGHT, WIDTH), np.nan, np.float32)),
        "range.tif": tiff(np.full((HEIGHT, WIDTH), 1e30, np.float32)),
        "volume.tif": tiff(np.zeros((3, 4, HEIGHT, WIDTH), np.uint8), volumetric=True, photometric="minisblack"),
        "movie.avif": b"\0\0\0\x18ftypavis\0\0\0\0avismsf1" + bytes(500),
        "vector.jpg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "page.png": b"%PDF-1.7\n%%EOF\n",
        "script.gif": b"#!/bin/sh\nrm -rf /\n",
    }


def misleading_files() -> dict[str, bytes]:
    """Return whole pictures that are not what they seem: wrong suffixes, data behind the end, data that unpacks far."""
    whole = encodings()
    names = (
        "baseline.jpg",
        "rgb.png",
        "plain.tif",
        "rgb.bmp",
        "lossy.webp",
        "palette.gif",
        "picture.avif",
        "sensor.dng",
    )
    suffixes = [".jpg", ".png", ".tif", ".heic", ".gif", ".nef"]
    wrong = {f"wrong-{name}{suffix}": whole[name] for name in names for suffix in suffixes if not name.endswith(suffix)}
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in PICTURE)
    bomb = png_chunk(b"IDAT", zlib.compress(rows + bytes(30_000_000), 9))
    return wrong | {
        "appended.jpg": whole["baseline.jpg"] + b"PK\3\4" + bytes(3000),
        "appended.png": whole["rgb.png"] + b"PK\3\4" + bytes(3000),
        "text-bomb.png": whole["rgb.png"][:33]
        + png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
        + whole["rgb.png"][33:],
        "profile-bomb.png": whole["rgb.png"][:33]
        + png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(bytes(30_000_000)))
        + whole["rgb.png"][33:],
        "long-data.png": b"\x89PNG\r\n\x1a\n" + header + bomb + png_chunk(b"IEND", b""),
    }


def write_odd_names(folder: Path) -> list[Path]:
    """Write whole pictures under names that break naive tools, and return their paths."""
    content = encodings()["rgb.png"]
    paths = [folder / os.fsdecode(name) for name in ODD_NAMES]
    for path in paths:
        path.write_bytes(content)
    return paths


def write_no_files(folder: Path) -> list[Path]:
    """Put things that are no files under images' names, and return their paths; none of them may be analysed."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "terminal.png").symlink_to("/dev/tty")
    (folder / "dangling.png").symlink_to(folder / "nothing.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "memory.jpg").symlink_to("/proc/self/mem")
    return [
        folder / name for name in ("pipe.jpg", "device.png", "terminal.png", "dangling.png", "loop.png", "memory.jpg")
    ]


def _png_header() -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))


def _tiff_with(tag: int, value: int) -> bytes:
    """Return a grey TIFF in whose directory a tag has another value."""
    content: Any = bytearray(tiff(GREY, photometric="minisblack", metadata=None))
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, place)[0] == tag:
            struct.pack_into("<HII", content, place + 2, 4, 1, value)
    return bytes(content)
