"""How a sample ends: saved as it is, as JPEG once or twice, resized, sent through a network, shot from a screen.

An ending is drawn before anything else, since it says how large a canvas the forging needs. It is the same for
authentic and forged samples.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.histories import (
    GRID_STARTS,
    RESIZE_SCALES,
    Image,
    Step,
    apply_step,
    chance,
    decode_jpeg,
    draw_filter,
    draw_jpeg,
    draw_resampling,
    jpeg_bytes,
)
from nclforensics.data.views import INTERPOLATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDING_SHARES: Final = {
    "as_is": 0.33,  # a PNG or TIFF of the edited image
    "jpeg": 0.35,  # saved once by the editor: the usual case
    "jpeg_twice": 0.07,  # saved by the editor and again by somebody else
    "cropped": 0.05,  # saved as JPEG, then cut out off the JPEG grid
    "filtered": 0.07,  # blurred, sharpened, grained or re-lit as a whole
    "resized": 0.06,
    "social": 0.05,  # made smaller and saved at a low quality, perhaps twice
    "screenshot": 0.02,
}
HIGHEST_SHARE: Final = 0.25  # of the files saved once: at an editor's highest qualities
OFF_GRID_SHARE: Final = 0.3  # of the files saved again: cut before, so that the two grids differ
WEB_SHARES: Final = (0.3, 0.45, 0.25)  # lossless, at a high quality, at a lower one
SHIFT: Final = 16  # pixels of room for a cut off the JPEG grid


@dataclass(frozen=True)
class Ending:
    """What happens to the whole image after the edit, in this order.

    Attributes:
        name: Key of ENDING_SHARES.
        canvas: Side in pixels of the square that is forged.
        side: Side after resizing; `canvas` if it is not resized.
        resampling: How it is resized.
        steps: What follows, on the resized image.
        corner: Where the sample is cut out of it (row, column).
        last: The final JPEG saving, whose grid starts at the sample's corner; None for a lossless file.
    """

    name: str
    canvas: int
    side: int
    resampling: str = "area"
    steps: list[Step] = field(default_factory=list)
    corner: tuple[int, int] = (0, 0)
    last: Step | None = None

    def record(self) -> Step:
        """Return the ending as plain values for the recipe."""
        return {**asdict(self), "corner": list(self.corner)}


def draw_ending(rng: np.random.Generator, *, size: int, room: int, lossless: bool = False) -> Ending:
    """Draw an ending for a sample of `size` pixels.

    Args:
        rng: The sample's generator.
        size: Side of the finished sample.
        room: Shortest side of the host photo: the canvas is no larger.
        lossless: Whether the sample stays as it was edited.
    """
    name = "as_is" if lossless else str(rng.choice(list(ENDING_SHARES), p=list(ENDING_SHARES.values())))
    cut = name in ("cropped", "screenshot") or (name == "jpeg_twice" and chance(rng, 0.4))
    extra = SHIFT if cut and room >= size + SHIFT else 0
    side = size + extra
    scale = _draw_scale(rng, name)
    canvas = min(room, max(side // 3, round(side / scale)))
    corner = tuple(int(v) for v in rng.integers(0, extra + 1, 2)) if extra else (0, 0)
    resampling = "area" if canvas > side and chance(rng, 0.6) else str(rng.choice(["linear", "cubic"]))
    steps, last = _draw_steps(rng, name)
    return Ending(name, canvas, side, resampling, steps, (corner[0], corner[1]), last)


def _draw_scale(rng: np.random.Generator, name: str) -> float:
    lowest, highest = {"resized": (0.4, 1.6), "social": (0.4, 1.0), "screenshot": (0.5, 1.5)}.get(name, (1.0, 1.0))
    return float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))


def _draw_steps(rng: np.random.Generator, name: str) -> tuple[list[Step], Step | None]:
    saved = draw_jpeg(rng)
    if name == "as_is":
        return [], None
    if name == "jpeg":  # an editor's highest setting keeps the traces of what was saved before
        return [], draw_jpeg(rng, low=97) if chance(rng, HIGHEST_SHARE) else saved
    if name == "jpeg_twice":
        return [draw_jpeg(rng)], saved
    if name == "social":
        steps = [{"op": "sharpen", "amount": 0.3}] if chance(rng, 0.3) else []
        steps += [draw_jpeg(rng, low=65, high=88)] if chance(rng, 0.4) else []
        return steps, {**draw_jpeg(rng, low=65, high=88), "subsampling": "4:2:0"}
    if name == "cropped":
        return [saved], draw_jpeg(rng, low=75) if chance(rng, 0.5) else None
    steps = [draw_filter(rng)] if name == "filtered" else []
    return steps, saved if chance(rng, 0.6) else None


def draw_web_ending(rng: np.random.Generator, *, size: int, room: int | None = None) -> Ending:
    """Draw how a picture of the web ends: most editors save it lossless or at a high quality.

    Args:
        rng: The sample's generator.
        size: Side of the finished sample.
        room: Shortest side of the host photo if the picture is resized before it is saved; None: it keeps its size.
    """
    qualities = [None, (95, 100), (75, 94)][int(rng.choice(3, p=WEB_SHARES))]
    last = draw_jpeg(rng, low=qualities[0], high=qualities[1]) if qualities else None
    if room is None:
        return Ending("web", size, size, last=last)
    scale = float(np.exp(rng.uniform(*np.log(RESIZE_SCALES))))
    canvas = min(room, round(size / scale))
    return Ending("web", canvas, size, draw_resampling(rng, smaller=canvas > size), last=last)


def saved_again(rng: np.random.Generator, ending: Ending) -> Ending:
    """Return the ending followed by another saving, as JPEG of quality 50 to 90, seldom after a cut off the grid."""
    steps = list(ending.steps)
    if ending.last is not None:
        # Its grid started where the sample starts; as a step, it meets the image before the sample is cut out.
        phase = [-start % GRID_STARTS for start in ending.corner]
        if chance(rng, OFF_GRID_SHARE):
            phase = [int(v) for v in rng.integers(0, GRID_STARTS, 2)]
        steps.append({**ending.last, "phase": phase})
    return replace(ending, steps=steps, last=draw_jpeg(rng, low=50, high=90))


def apply_ending(
    image: Image, mask: NDArray[np.bool_], ending: Ending, *, size: int
) -> tuple[Image, NDArray[np.bool_]]:
    """Return image and mask up to, not including, the last saving."""
    if ending.side != ending.canvas:
        shape = (ending.side, ending.side)
        image = np.asarray(cv2.resize(image, shape, interpolation=INTERPOLATIONS[ending.resampling]), np.uint8)
        levels = cv2.resize(mask.astype(np.uint8) * 255, shape, interpolation=cv2.INTER_AREA)
        mask = np.asarray(levels) > 127  # noqa: PLR2004 - a pixel is tampered if at least half of it is
    for step in ending.steps:
        image = apply_step(image, step)
    top, left = ending.corner
    window = (slice(top, top + size), slice(left, left + size))
    return np.ascontiguousarray(image[window]), np.ascontiguousarray(mask[window])


def save(image: Image, ending: Ending) -> tuple[Image, bytes | None]:
    """Return the finished image, and the bytes of its file if it ends as JPEG."""
    if ending.last is None:
        return image, None
    content = jpeg_bytes(image, ending.last)
    return decode_jpeg(content), content
