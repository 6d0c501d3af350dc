"""A process that decodes: paths come in on stdin, a line of JSON each; pixels go out on stdout.

The first line sent says that the process is ready. Each request is answered by one line with the seconds that decoding
may take, as soon as the header is known, and one line with the outcome. After an outcome that is an image, its pixels
follow, height x width x 3 bytes. Nothing is pickled: a decoder that hostile data has taken over can send wrong pixels,
but cannot run code in the scan.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import cv2
from PIL import AvifImagePlugin

from nclforensics.data.images import open_image
from nclforensics.errors import MissingInputError, UnreadableImageError

if TYPE_CHECKING:
    from nclforensics.data.images import EncodedImage

PIXELS_PER_SECOND: Final = 2_000_000  # far below what any decoder here does on an idle core
# The most that a decoder takes, with the samples, their conversion and a codec's own planes: float64 RGB in a TIFF.
BYTES_PER_PIXEL: Final = 48
BYTES_PER_FILE_BYTE: Final = 4
BYTES_OF_OVERHEAD: Final = 2**30


def serve() -> None:
    """Answer requests until stdin is closed."""
    cv2.setNumThreads(1)  # there are as many processes as may be busy
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # else one a core, whose stacks count as memory
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a C library prints must not get between the answers
    os.dup2(silence, 2)
    _send(answers, {})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _answer(answers, Path(request["path"]), request["max_pixels"])


def _answer(answers: BinaryIO, path: Path, max_pixels: int) -> None:
    try:
        limit_memory(BYTES_PER_FILE_BYTE * _size(path))
        image = open_image(path, max_pixels=max_pixels)
        pixels = image.header.width * image.header.height
        _send(answers, {"seconds": pixels / PIXELS_PER_SECOND})
        limit_memory(BYTES_PER_PIXEL * pixels + BYTES_PER_FILE_BYTE * len(image.data))
        _send_image(answers, image)
    except (UnreadableImageError, MissingInputError) as error:
        _send(answers, {"error": type(error).__name__, "message": str(error)})
    except MemoryError:
        message = f"Cannot decode {path}: that takes more memory than an image of its size should, or than there is."
        _send(answers, {"error": UnreadableImageError.__name__, "message": message})


def _send_image(answers: BinaryIO, image: EncodedImage) -> None:
    loaded = image.examine()
    facts = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded) if field.name != "pixels"}
    facts["quality"] = None if loaded.quality is None else dataclasses.asdict(loaded.quality)
    _send(answers, {"shape": loaded.pixels.shape, "facts": facts})
    answers.write(loaded.pixels.data.cast("B"))
    answers.flush()


def _send(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def limit_memory(extra: int) -> None:
    """Let this process grow by so many bytes and some overhead, no further; only Linux can do that."""
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - not on Windows

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + extra + BYTES_OF_OVERHEAD
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
