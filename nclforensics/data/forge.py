"""Training forgeries on the fly: splice, copy-move, removal and authentic samples from a pool of pristine photos.

A sample depends on the photos' contents, the configuration, the seed and its index alone: not on the process, the
order of calls or the names of files. Its recipe says what was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.data.canvas import Canvas
from nclforensics.data.copy_move import copy_move
from nclforensics.data.endings import apply_ending, save
from nclforensics.data.histories import (
    GRID_STARTS,
    ORIGIN_SCALES,
    Image,
    Step,
    apply_step,
    chance,
    draw_avif,
    draw_origin_steps,
)
from nclforensics.data.photos import GRID, Photo, PhotoPool
from nclforensics.data.plan import Plan, draw_plan, restore
from nclforensics.data.quality.block_grid import find_grid
from nclforensics.data.quality.whole_saving import whole_saving
from nclforensics.data.removal import removal
from nclforensics.data.splice import splice
from nclforensics.data.views import cut_view, draw_view
from nclforensics.errors import MissingInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.config import ForgeConfig

KINDS: Final = ("authentic", "splice", "copy_move", "removal")
ATTEMPTS: Final = 60
VISIBLE_CHANGE: Final = 2.0  # grey levels: an edit below this on average cannot be seen, so it may not be a label
LARGEST: Final = {"splice": 1.0, "copy_move": 0.2, "removal": 0.15}  # share of the canvas, below the configured limit
LARGE_REGION: Final = 0.03  # share of the canvas from which on areas are drawn evenly in half of the samples
RESIZED_DONORS: Final = 0.7  # of the donors of a picture that was resized
VIEWS: Final = 4  # views compared when the sample is to show contrasting textures


@dataclass(frozen=True)
class ForgedSample:
    """One sample.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        mask: bool (S, S), True = tampered; all False for kind "authentic".
        kind: One of KINDS.
        recipe: What was done, in plain values that JSON can hold.
        encoded: The bytes of the JPEG file whose pixels `image` is, if the sample's history ends with one.
    """

    image: Image
    mask: NDArray[np.bool_]
    kind: str
    recipe: dict[str, Any]
    encoded: bytes | None


class Forge:
    """Makes sample number `index` of an endless, seeded set."""

    def __init__(self, photos: PhotoPool, config: ForgeConfig, seed: int) -> None:
        self.photos = photos
        self.config = config
        self.seed = seed
        shares = [float(getattr(config, kind)) for kind in KINDS]
        self._shares = [share / sum(shares) for share in shares]

    def sample(self, index: int) -> ForgedSample:
        """Return sample `index`, >= 0: the same one at every call.

        Raises:
            MissingInputError: If the photos are too small or too uniform to forge such a sample.
        """
        # The fourth number sets this stream apart: NumPy takes [seed, index] and [seed, index, 0] for the same seed.
        kind = str(np.random.default_rng([self.seed, index, 0, 1]).choice(KINDS, p=self._shares))
        for attempt in range(ATTEMPTS):
            sample = self._attempt(np.random.default_rng([self.seed, index, attempt]), kind, index)
            if sample is not None:
                return sample
        raise MissingInputError(
            f"Sample {index} ({kind}) could not be forged in {ATTEMPTS} attempts: the photos are too uniform or too "
            "small for a visible edit of the configured area. Add other photos."
        )

    def _attempt(self, rng: np.random.Generator, kind: str, index: int) -> ForgedSample | None:
        host = self.photos.draw_scene(rng, min_side=self.config.size)
        plan = draw_plan(rng, self.config, room=host.shortest_side)
        canvas, opening = self._open_canvas(rng, host, plan)
        canvas.resized = RESIZED_DONORS if plan.resized else 0.0
        edits: list[Step] = []
        if kind != "authentic":
            before = canvas.image.copy()
            edits = self._edit(rng, canvas, kind, host.sha256)
            # A region without a place is not inpainted instead: samples that older models saw would be others.
            if not _visible(before, canvas) or any(edit.get("source", []) is None for edit in edits):
                return None
        size = plan.ending.side if plan.restored else self.config.size
        image, mask = apply_ending(canvas.image, canvas.mask, plan.ending, size=size)
        share = np.count_nonzero(mask) / mask.size
        if kind != "authentic" and not self.config.min_area <= share <= self.config.max_area:
            return None
        image, encoded = save(image, plan.ending)
        recipe = {
            "seed": self.seed,
            "index": index,
            "kind": kind,
            "pool": self.photos.sha256,
            "photos": [host.sha256, *(edit["donor"] for edit in edits if "donor" in edit)],
            "opening": opening,
            "edits": edits,
            "ending": plan.ending.record(),
        }
        if plan.restored:
            image, mask = restore(image, mask, size=self.config.size)
            encoded, recipe["restored"] = None, True
        if self.config.whole_saving and not self._shows_the_saving(image):
            return None
        return ForgedSample(image, mask, kind, recipe, encoded)

    def _shows_the_saving(self, image: Image) -> bool:
        quality = whole_saving(image, find_grid(image))
        return quality is not None and quality <= self.config.whole_saving

    def _open_canvas(self, rng: np.random.Generator, host: Photo, plan: Plan) -> tuple[Canvas, Step]:
        """Cut the canvas out of the host and give it the host's own history, perhaps resized after that."""
        size, resize = plan.opening_resize(rng, size=self.config.size, room=host.shortest_side)
        turned = chance(rng, 0.05)
        scaled = turned or chance(rng, 0.2)
        views = []
        for _ in range(VIEWS if plan.contrasting else 1):
            scales = ORIGIN_SCALES.get(plan.origin, (0.4, 1.2) if scaled else (1.0, 1.0))
            view = draw_view(rng, photo=host.pixels.shape, size=size, scales=scales, turn=turned, grid=GRID)
            assert view is not None  # the canvas is no larger than the host
            views.append((cut_view(host.pixels, view, size), view))
        image, view = max(views, key=lambda pair: _texture_contrast(pair[0])) if plan.contrasting else views[0]
        steps = draw_origin_steps(rng, plan.origin, hard_light=self.config.hard_light)
        if steps and steps[-1]["op"] == "jpeg" and chance(rng, 0.2) and not plan.restored:
            steps[-1]["phase"] = [int(v) for v in rng.integers(0, GRID_STARTS, 2)]
        if plan.avif_before:
            steps.append(draw_avif(rng))
        if resize is not None:
            steps.append(resize)
        for step in steps:
            image = apply_step(image, step)
        canvas = Canvas(image, np.zeros(image.shape[:2], np.bool_), plan.origin, self.config.hard_light)
        return canvas, {"view": view, "steps": steps}

    def _edit(self, rng: np.random.Generator, canvas: Canvas, kind: str, host: str) -> list[Step]:
        largest = max(min(self.config.max_area, LARGEST[kind]), self.config.min_area)
        lowest, highest = np.log(self.config.min_area * 1.1), np.log(largest * 0.95)
        share = np.exp(lowest + (highest - lowest) * rng.random() ** 0.75)  # somewhat larger than log-uniform
        if chance(rng, 0.5):  # as large as a person or a building: log-uniform areas alone would make them rare
            share = rng.uniform(min(LARGE_REGION, largest / 2), largest * 0.95)
        regions = int(rng.choice([1, 2, 3, 4], p=[0.72, 0.14, 0.09, 0.05]))
        area = max(24.0, share * canvas.side**2 / regions)
        if kind == "splice":
            return [splice(canvas, rng, area=area, pool=self.photos, host=host) for _ in range(regions)]
        edit = copy_move if kind == "copy_move" else removal
        return [edit(canvas, rng, area=area) for _ in range(regions)]


def _texture_contrast(image: Image) -> float:
    """Return how much the texture differs over the image: smooth sky beside foliage is the hard authentic case."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    detail = cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S))
    cells = cv2.resize(detail, (12, 12), interpolation=cv2.INTER_AREA)
    return float(cells.std())


def _visible(before: Image, canvas: Canvas) -> bool:
    """Tell whether the edit changed what it marks: most pixels, and by VISIBLE_CHANGE grey levels on average."""
    inside = canvas.mask.astype(np.uint8)
    change = cv2.absdiff(before, canvas.image)
    mean = max(cv2.mean(change, inside)[:3])
    grey = cv2.cvtColor(change, cv2.COLOR_RGB2GRAY)
    changed = cv2.countNonZero(cv2.bitwise_and(grey, grey, mask=inside))
    return mean >= VISIBLE_CHANGE and 2 * changed >= cv2.countNonZero(inside)
