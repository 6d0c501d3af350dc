"""Levels that were mapped to others in 8 bits are told from those of a camera."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.histories import decode_jpeg, jpeg_bytes
from nclforensics.data.quality.levels import UNEVENNESS_LIMIT, level_unevenness
from tests.textures import make_texture

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]


def _mapped(picture: Image, curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Image:
    table = np.clip(np.rint(curve(np.arange(256.0))), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _photo(side: int = 384) -> Image:
    """Return a picture saved as JPEG at 90, as most photos are, before anything is done to it."""
    return decode_jpeg(
        jpeg_bytes(make_texture(side, side), {"quality": 90, "colour_quality": 90, "subsampling": "4:2:0"})
    )


def _reference(picture: Image) -> float:
    """Return the second largest unevenness of the channels, pixel by pixel and level by level."""
    found = []
    for channel in range(3):
        counts = [0] * 256
        for row in picture[:, :, channel].tolist():
            for left, right in pairwise(row):
                counts[left] += left != right
        counts = counts[4:252]
        distance = 0.0
        for low, level, high in zip(counts, counts[1:], counts[2:], strict=False):
            distance += abs(level - (low + high) / 2) - math.sqrt(3 / math.pi) * math.sqrt((low + level + high) / 3)
        found.append(max(0.0, distance / sum(counts)) if sum(counts) else 0.0)
    return sorted(found)[1]


@pytest.mark.parametrize("gamma", [1.0, 0.6], ids=["as it is", "brightened"])
def test_unevenness_equals_the_loop(gamma: float) -> None:
    """Level by level, without the ends of the scale and without pixels that equal their neighbour."""
    picture = _mapped(_photo(96), lambda levels: 255 * (levels / 255) ** gamma)
    assert level_unevenness([picture]) == pytest.approx(_reference(picture), abs=1e-9)
    halves = [picture[:, :48], picture[:, 47:]]
    assert level_unevenness(halves) == pytest.approx(_reference(picture), abs=1e-9)


@pytest.mark.parametrize(
    "curve",
    [
        lambda levels: 255 * (levels / 255) ** 0.5,
        lambda levels: 255 * (levels / 255) ** 0.7,
        lambda levels: 255 * (levels / 255) ** 1.4,
        lambda levels: 255 * (levels / 255) ** 2,
        lambda levels: 1.2 * (levels - 128) + 128,
        lambda levels: 0.85 * (levels - 128) + 128,
    ],
    ids=["gamma 0.5", "gamma 0.7", "gamma 1.4", "gamma 2", "more contrast", "less contrast"],
)
def test_brightness_and_contrast_are_seen(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    """Levels that no pixel has, or two that became one."""
    assert level_unevenness([_mapped(_photo(), curve)]) > UNEVENNESS_LIMIT


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: _mapped(picture, lambda levels: levels + 20),
        lambda picture: cv2.GaussianBlur(picture, (5, 5), 0),
        lambda picture: cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
        lambda picture: picture[:64, :64],
    ],
    ids=["as it is", "all levels moved", "blurred", "reduced", "a small piece"],
)
def test_other_pictures_are_even(change: Callable[[Image], Image]) -> None:
    """Nothing that mixes pixels, or leaves the steps between levels as they are; nor few pixels, by chance."""
    assert level_unevenness([change(_photo())]) < UNEVENNESS_LIMIT


def test_surfaces_of_one_colour_do_not_count() -> None:
    """A picture on a page: the page's white and grey are heaps of their own."""
    page = np.full((600, 800, 3), 128, np.uint8)
    page[:, :100] = 200
    page[100:484, 200:584] = _photo()
    assert level_unevenness([page]) < UNEVENNESS_LIMIT
    assert level_unevenness([np.full((64, 64, 3), 77, np.uint8)]) == 0
