"""How common DCT coefficients are in an image, coefficient by coefficient, and photos that were saved as JPEGs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# (row, column) of the first frequencies after DC, read off figure A.6 of ITU-T T.81.
ORDER = (
    (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0), (4, 0),
    (3, 1), (2, 2), (1, 3), (0, 4), (0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0),
)  # fmt: skip


def magnitudes(pixels: NDArray[np.float64], *, largest: int) -> NDArray[np.float64]:
    """Return the magnitudes (20, H / 8, W / 8) of one RGB image (3, H, W) in [0, 1], by the sum that defines a DCT."""
    luminance = 255 * (0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2])
    found = np.empty((len(ORDER), luminance.shape[0] // 8, luminance.shape[1] // 8))
    for index, (u, v) in enumerate(ORDER):
        for row in range(found.shape[1]):
            for column in range(found.shape[2]):
                block = luminance[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                found[index, row, column] = min(abs(_coefficient(block, u, v)), largest)
    return found


def _coefficient(block: NDArray[np.float64], u: int, v: int) -> float:
    terms = (
        block[y, x] * math.cos((2 * y + 1) * u * math.pi / 16) * math.cos((2 * x + 1) * v * math.pi / 16)
        for y in range(8)
        for x in range(8)
    )
    return math.fsum(terms) / 4 * (math.sqrt(0.5) if u == 0 else 1) * (math.sqrt(0.5) if v == 0 else 1)


def shares(values: NDArray[np.float64], *, largest: int) -> list[float]:
    """Return one frequency's shares at the bins 0 ... largest; a magnitude between two bins counts for both."""
    counts = [0.0] * (largest + 1)
    for value in values.flatten().tolist():
        for number in range(largest + 1):
            counts[number] += max(0.0, 1 - abs(value - number))
    return [count / values.size for count in counts]


def commonness(bins: list[float], *, window: int, rare: float) -> list[float]:
    """Return the log of each bin over its neighbourhood, less its mean over the blocks; 0 for first and last."""
    inner = range(1, len(bins) - 1)
    levels = {}
    for number in inner:
        around = [bins[other] for other in inner if abs(other - number) <= window]
        levels[number] = math.log((bins[number] + rare) / (sum(around) / len(around) + rare))
    mean = sum(bins[number] * levels[number] for number in inner) / (sum(bins[number] for number in inner) + rare)
    return [0.0, *(levels[number] - mean for number in inner), 0.0]


def saved(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return pixels (H, W, 3) after a JPEG of a quality, without subsampling of the colours."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, flags)[1], cv2.IMREAD_COLOR), np.uint8)


def texture(seed: int, side: int) -> NDArray[np.uint8]:
    """Return a picture (side, side, 3) of noise that is stronger at low frequencies, as photos are."""
    generator = np.random.default_rng(seed)
    total = np.full((side, side, 3), 128.0)
    for step in (1, 2, 4, 8, 16):
        coarse = generator.normal(0, 6 * step**0.5, (side // step, side // step, 3))
        total += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 255).astype(np.uint8)
