"""Reduced, upright pictures of a scanned image, made only from files that still have their recorded SHA-256.

So photos are decoded in this process: their very bytes were decoded before, by the scan, without harm.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.data.images import read_image, sha256_of
from nclforensics.errors import MissingInputError, UnreadableImageError, UsageError
from nclforensics.pipelines.outputs import MASK_SUFFIX, OVERLAY_SUFFIX, SCORE_SUFFIX, digest_of, encode_png, is_inside
from nclforensics.pipelines.remote_inputs import on_disk, recorded_input
from nclforensics.reports.overlay import UINT16_MAX, color_score_map, outline_mask
from nclforensics.reports.scan_document import Pictures
from nclforensics.reports.upright import upright, upright_size
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.results import Outcome

# Longest side of a picture: what a screen shows beside the facts, and what a column of a printed page resolves.
HTML_SIDE: Final = 960
PDF_SIDE: Final = 640
JPEG_QUALITY: Final = 82
_PNG_START: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"  # width and height follow
_LONGEST_SIDE: Final = 2**31 - 1  # of a PNG
# What each output is: the type of its samples, and the channels of its pixels.
_KINDS: Final = {MASK_SUFFIX: ("uint8", ()), OVERLAY_SUFFIX: ("uint8", (3,)), SCORE_SUFFIX: ("uint16", ())}


class PictureMaker:
    """Makes the pictures of a scan's images.

    Args:
        out: The output folder of the scan.
        working_folder: Where the scan was run: relative paths of its records start there.
        side: Longest side of a picture, in pixels.
    """

    def __init__(self, out: Path, working_folder: str, *, side: int) -> None:
        self._out = out
        self._working_folder = working_folder
        self._side = side

    def of(self, outcome: Outcome) -> Pictures:
        """Return the pictures of one image; none of a skipped one."""
        if not isinstance(outcome, ScanFinding):
            return Pictures()
        notes: list[str] = []
        photo = self._photo(outcome, notes)
        mask = self._output(outcome, outcome.mask, outcome.mask_sha256, MASK_SUFFIX, notes)
        overlay = self._output(outcome, outcome.overlay, outcome.overlay_sha256, OVERLAY_SUFFIX, notes)
        scores = self._output(outcome, outcome.score_map, outcome.score_map_sha256, SCORE_SUFFIX, notes)
        if overlay is None and photo is not None and mask is not None and outcome.regions:
            overlay = outline_mask(photo, mask > 0)
        return Pictures(
            photo=None if photo is None else _jpeg(photo),
            overlay=None if overlay is None else _jpeg(overlay),
            mask=None if mask is None else encode_png(mask),
            score_map=None if scores is None else _jpeg(color_score_map((scores / UINT16_MAX).astype(np.float32))),
            notes=tuple(notes),
        )

    def _photo(self, finding: ScanFinding, notes: list[str]) -> NDArray[np.uint8] | None:
        """Return the photo; it is not even decoded where its bytes are not those that were scanned."""
        path = recorded_input(finding.path, working_folder=str(self._working_folder))
        try:
            if sha256_of(path) != finding.sha256:
                notes.append("The photo is not shown: the file was changed since the scan.")
                return None
            with on_disk(path) as file:
                loaded = read_image(file)
        except (OSError, ValueError, MissingInputError):  # ValueError: its name is none that a file can have
            notes.append("The photo is not shown: it is no longer where it was scanned.")
            return None
        except (UnreadableImageError, MemoryError, UsageError) as error:  # UsageError: in no store that is known here
            notes.append(f"The photo is not shown: {error}")
            return None
        if loaded.pixels.shape[:2] != (finding.height, finding.width):
            notes.append("The photo is not shown: it does not have the recorded size.")
            return None
        return self._prepared(loaded.pixels, finding.orientation)

    def _output(
        self, finding: ScanFinding, name: str | None, digest: str | None, suffix: str, notes: list[str]
    ) -> NDArray[Any] | None:
        """Return the pixels of an output file, channels in RGB order, None if there is none that can be trusted."""
        if name is None:
            return None
        path = self._out / name
        try:
            content = path.read_bytes() if name.endswith(suffix) and is_inside(path, self._out) else b""
        except (OSError, ValueError):
            notes.append(f"{name} is not shown: the file is missing.")
            return None
        if digest_of(content) != digest:
            notes.append(f"{name} is not shown: the file is not the one that the scan wrote.")
            return None
        # The overlay was turned when it was written; mask and scores have the pixel grid of the photo as stored.
        turned = suffix == OVERLAY_SUFFIX
        size = (finding.width, finding.height)
        pixels = _decoded(content, upright_size(*size, finding.orientation) if turned else size)
        if pixels is None or (str(pixels.dtype), pixels.shape[2:]) != _KINDS[suffix]:
            notes.append(f"{name} is not shown: it is no such picture of the recorded size.")
            return None
        return self._prepared(pixels, 1 if turned else finding.orientation)

    def _prepared(self, pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
        height, width = pixels.shape[:2]
        scale = self._side / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return upright(pixels, orientation)


def _decoded(content: bytes, size: tuple[int, int]) -> NDArray[Any] | None:
    """Return a PNG's pixels; the header is looked at first, so that a record from a stranger cannot fill the memory."""
    if not all(0 < side <= _LONGEST_SIDE for side in size):
        return None
    if not content.startswith(_PNG_START + struct.pack(">II", *size)):
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        return None
    return pixels[:, :, ::-1] if pixels is not None and pixels.ndim == 3 else pixels  # noqa: PLR2004 - OpenCV's BGR


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    done, content = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return content.tobytes()
