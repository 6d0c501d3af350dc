"""Score maps and masks, random and degenerate, that a metric is checked on; rebuilt from their names alone."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
MAPS = ("noise", "blobs", "steps", "good", "wrong", "zeros", "ones", "half")
MASKS = ("box", "sprinkle", "pixel", "most", "full", "empty")


class MapCase(NamedTuple):
    """One score map, float32 (48, 64) in [0, 1], and one mask, bool (48, 64)."""

    name: str
    score_map: NDArray[np.float32]
    mask: NDArray[np.bool_]


def map_cases() -> list[MapCase]:
    """Return every map with every mask."""
    masks = {shape: make_shape(shape) for shape in MASKS}
    return [
        MapCase(f"{kind} {shape}", make_map(kind, masks[shape]), masks[shape]) for kind, shape in product(MAPS, MASKS)
    ]


def make_shape(shape: str) -> NDArray[np.bool_]:
    """Return one of the masks."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    if shape == "box":
        mask[10:34, 20:50] = True
    elif shape == "sprinkle":
        mask = np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.1
    elif shape == "pixel":
        mask[7, 9] = True
    elif shape == "most":
        mask[2:, 3:] = True
    elif shape == "full":
        mask[:] = True
    return mask


def make_map(kind: str, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return one of the score maps; "good" and "wrong" follow the mask, the others do not know it."""
    if kind in ("zeros", "half", "ones"):
        return np.full(mask.shape, {"zeros": 0, "half": 0.5, "ones": 1}[kind], dtype=np.float32)
    noise = np.random.default_rng(MAPS.index(kind)).random(mask.shape, dtype=np.float32)
    if kind == "blobs":
        smooth = cv2.GaussianBlur(noise, (0, 0), 3)
        return np.asarray((smooth - smooth.min()) / (smooth.max() - smooth.min()), dtype=np.float32)
    if kind == "steps":
        return np.asarray(np.floor(noise * 8) / 7, dtype=np.float32)
    if kind in ("good", "wrong"):
        target = mask if kind == "good" else ~mask
        return np.asarray(0.4 * noise + np.float32(0.6) * target, dtype=np.float32)
    return noise


def image_scores(seed: int) -> tuple[list[float], list[int]]:
    """Return scores of whole images, on 1/64 so that they tie, and their labels (1 = tampered)."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 40)
    scores = np.floor((0.7 * generator.random(40) + 0.3 * labels) * 64) / 64
    return scores.tolist(), labels.tolist()
