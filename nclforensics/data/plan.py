"""What kind of picture a forged sample is to be, drawn before anything is forged: it says how large a canvas is needed.

Part of the pictures that were resized are brought back to blocks of 8 x 8 pixels when they are finished. A scan does so
with every picture whose grid it finds (`nclforensics.data.quality.restoration`), and what it shows the network then is
neither a picture that was never resized nor one that was left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.endings import Ending, draw_ending, draw_web_ending, saved_again
from nclforensics.data.histories import (
    Image,
    Origin,
    Step,
    chance,
    draw_adjustment,
    draw_avif,
    draw_resampling,
    draw_resize,
)
from nclforensics.data.quality.block_grid import BLOCK, AxisGrid, BlockGrid
from nclforensics.data.quality.restoration import Restoration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.config import ForgeConfig

LOSSLESS_SHARE: Final = 0.5  # of the camera samples: those that were never saved as JPEG are the purest lesson
CONTRASTING_SHARE: Final = 0.25
AVIF_BEFORE: Final = 0.5  # of the pictures that were an AVIF: before the edit; the others after it
AVIF_TO_JPEG: Final = 0.3  # of those that end as one: made a JPEG again
# Of the pictures that were resized: how many before the edit, how many of these after it too.
RESIZED_BEFORE: Final = 0.65
RESIZED_AGAIN: Final = 0.2
RESTORED_SCALES: Final = (0.65, 1.65)  # the periods that a scan finds: 5.2 to 13.2 pixels a block
LOWEST_RESTORED_QUALITY: Final = 88  # of the last saving: beneath a stronger one a scan hardly finds the grid


@dataclass(frozen=True)
class Plan:
    """One sample.

    Attributes:
        origin: What kind of picture the host is.
        ending: What happens after the edit; its picture has another size than the sample where it is `restored`.
        resized: Whether the picture is resized once its host was saved.
        resized_before: Whether before the edit.
        restored: Whether it is brought back to its grid at the end.
        contrasting: Whether a view with contrasting textures is looked for.
        avif_before: Whether the host was stored as AVIF before the edit.
    """

    origin: Origin
    ending: Ending
    resized: bool
    resized_before: bool
    restored: bool
    contrasting: bool
    avif_before: bool = False

    def opening_resize(self, rng: np.random.Generator, *, size: int, room: int) -> tuple[tuple[int, int], Step | None]:
        """Draw how the host gets its canvas' size: height and width before, and the step, None if it has it.

        Args:
            rng: The sample's generator.
            size: Side of the sample.
            room: Shortest side of the host photo.
        """
        final = (self.ending.canvas, self.ending.canvas)
        if not self.resized_before:
            return final, None
        before, step = draw_resize(rng, final, room=room)
        if not self.restored:
            return (before[0], before[1]), step
        # Of these the scale is drawn with the ending; what was drawn of it here counts in the order of draws alone.
        return (size, size), {**step, "resampling": draw_resampling(rng, smaller=size > final[0])}


def draw_plan(rng: np.random.Generator, config: ForgeConfig, *, room: int) -> Plan:
    """Draw the plan of a sample whose host photo's shortest side is `room`, at least the sample's."""
    size = config.size
    camera = chance(rng, config.camera)
    lossless = camera and chance(rng, LOSSLESS_SHARE)
    # Shares of 0 draw nothing: the samples stay those of older models.
    web = not camera and config.web > 0 and chance(rng, config.web)
    origin: Origin = "camera" if camera else "web" if web else "photo"
    resized = web and config.resized > 0 and chance(rng, config.resized)
    before = resized and chance(rng, RESIZED_BEFORE)
    after = resized and (not before or chance(rng, RESIZED_AGAIN))
    restored = resized and config.restored > 0 and chance(rng, config.restored)
    if web:
        ending = draw_web_ending(rng, size=size, room=room if after else None)
    else:
        ending = draw_ending(rng, size=size, room=room, lossless=lossless)
    adjusted = config.adjusted > 0 and chance(rng, config.adjusted)
    if adjusted:
        ending = replace(ending, steps=[draw_adjustment(rng), *ending.steps])
    if config.recompressed and chance(rng, config.recompressed):
        ending = saved_again(rng, ending)
    avif = config.avif > 0 and chance(rng, config.avif)
    avif_before = avif and chance(rng, AVIF_BEFORE)
    if avif and not avif_before:
        last = ending.last if chance(rng, AVIF_TO_JPEG) else None
        ending = replace(ending, steps=[*ending.steps, draw_avif(rng)], last=last)
    # A scan finds no grid beneath an adjustment or an AVIF, nor beneath a strong saving.
    restored = restored and not (adjusted or avif)
    restored = restored and (ending.last is None or ending.last["quality"] >= LOWEST_RESTORED_QUALITY)
    if restored:
        before = chance(rng, RESIZED_BEFORE)
        ending = _resized_once(rng, ending, size=size, before=before)
    return Plan(origin, ending, resized, before, restored, chance(rng, CONTRASTING_SHARE), avif_before)


def _resized_once(rng: np.random.Generator, ending: Ending, *, size: int, before: bool) -> Ending:
    """Return the ending of a picture that had the sample's size before it was resized, before the edit or after it."""
    side = round(size * float(np.exp(rng.uniform(*np.log(RESTORED_SCALES)))))
    if before:
        return replace(ending, canvas=side, side=side)
    return replace(ending, canvas=size, side=side, resampling=draw_resampling(rng, smaller=side < size))


def restore(image: Image, mask: NDArray[np.bool_], *, size: int) -> tuple[Image, NDArray[np.bool_]]:
    """Return a square picture, whose blocks start at its corner, and its mask, brought back to a side of `size`."""
    axis = AxisGrid(BLOCK * len(image) / size, 0.0)
    image = Restoration(BlockGrid(axis, axis), image.shape).restored(image)
    how = cv2.INTER_AREA if size < len(mask) else cv2.INTER_LINEAR
    levels = cv2.resize(mask.astype(np.uint8) * 255, (size, size), interpolation=how)
    return np.ascontiguousarray(image), np.asarray(levels) > 127  # noqa: PLR2004 - at least half of a pixel
