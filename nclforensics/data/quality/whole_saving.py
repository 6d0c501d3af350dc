"""Whether every block of a picture shows one JPEG saving: then whatever was edited was edited before it.

Blocks that were quantized have DCT coefficients that lie at multiples of the steps they were quantized with, but for
the rounding of pixels. The steps are told from the picture itself, for each of some low frequencies the largest one
that explains its coefficients, so that any table will do. Then small tiles are held against them: a place that was
pasted, painted or moved after the saving has coefficients in between. Coefficients below half a step say nothing.

Sources: Lukas and Fridrich, "Estimation of primary quantization matrix in double compressed JPEG images", 2003, and
Fan and de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer estimation", 2003, for
steps that show in coefficients; Ye, Sun and Chang, "Detecting digital image forgeries by measuring inconsistencies of
blocking artifact", 2007, for blocks that do not fit them. The rule is this project's own; docs/decision.md has its
error rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from nclforensics.data.quality.block_grid import BLOCK
from nclforensics.data.quality.earlier_jpeg import FEWEST_BLOCKS, FREQUENCIES, WAVES
from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.sampling import luma_of, windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

TILE: Final = 4 * BLOCK  # side in pixels
FEWEST_FREQUENCIES: Final = 4  # of the eight, whose steps must be told
_STEPS: Final = np.arange(2, 41)
_REACH: Final = 80.0  # coefficients beyond are rare, and left out
_FINE: Final = 0.25  # bins of coefficients
_BINS: Final = np.arange(0, _REACH + _FINE, _FINE)
_TELLING: Final = (_BINS[:, None] > _STEPS / 2).astype(np.float64)  # (bins, steps)
_COSINES: Final = np.cos(2 * np.pi * _BINS[:, None] / _STEPS) * _TELLING
_FEWEST: Final = 30  # coefficients that tell of a step
_WEAKEST: Final = 0.25  # mean cosine that a step must have: chance gives none
_NEARLY: Final = 0.75  # of the strongest step's mean cosine: its multiples have none, its divisors as much
_FEWEST_IN_TILE: Final = 12
_HALF: Final = 0.5  # of what the picture shows as a whole
_DEVIATIONS: Final = 3.5
_MOST_OTHERS: Final = 0.001  # share of the tiles: a finding's smallest region is five times as large
_STRIP: Final = 32  # rows of tiles that are looked at at once
_DOWN, _ACROSS = (list(places) for places in zip(*FREQUENCIES, strict=True))


class _Steps(NamedTuple):
    """Of each frequency, shape (8,): its step, 1 where none was told, and the mean cosine of its coefficients."""

    steps: Numbers
    cosines: Numbers


def whole_saving(pixels: NDArray[np.uint8], corner: tuple[int, int] = (0, 0)) -> int | None:
    """Return the quality, on the IJG scale, of a JPEG saving that every block of a picture shows; None without one.

    An earlier, stronger saving that still shows through a later one counts as well: the strongest is returned.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        corner: Row and column, 0 to 7, where the picture's JPEG grid starts.
    """
    pixels = pixels[corner[0] :, corner[1] :]
    if min(pixels.shape[:2]) < BLOCK:
        return None
    found = _steps_of(pixels)
    known = found.steps > 1
    if np.count_nonzero(known) < FEWEST_FREQUENCIES:
        return None
    tiles, others = 0, 0
    for strip in _strips(pixels):
        counts = _tiles_and_others(strip, found)
        tiles, others = tiles + counts[0], others + counts[1]
    if others > _MOST_OTHERS * tiles:
        return None
    return _nearest_quality(found.steps, known)


def _steps_of(pixels: NDArray[np.uint8]) -> _Steps:
    """Return the largest step of each frequency that explains the picture's coefficients."""
    parts = [_coefficients(window) for window in windows(pixels)]
    values = np.concatenate([np.abs(coefficients[usable]) for coefficients, usable in parts])
    steps, cosines = np.ones(len(FREQUENCIES)), np.zeros(len(FREQUENCIES))
    if len(values) < FEWEST_BLOCKS:
        return _Steps(steps, cosines)
    for frequency in range(len(FREQUENCIES)):
        bins = np.minimum(np.rint(values[:, frequency] / _FINE).astype(np.int64), len(_BINS))
        counts = np.bincount(bins, minlength=len(_BINS) + 1)[:-1]
        telling = counts @ _TELLING
        means = np.where(telling >= _FEWEST, counts @ _COSINES / np.maximum(telling, 1), 0.0)
        if means.max() >= _WEAKEST:
            largest = np.flatnonzero(means >= _NEARLY * means.max())[-1]
            steps[frequency], cosines[frequency] = _STEPS[largest], means[largest]
    return _Steps(steps, cosines)


def _coefficients(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return low-frequency DCT coefficients (rows, columns, 8) of whole blocks, and which have no clipped colour."""
    down, across = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    pixels = pixels[: down * BLOCK, : across * BLOCK]
    blocks = luma_of(pixels).reshape(down, BLOCK, across, BLOCK).swapaxes(1, 2)
    spectrum = np.matmul(WAVES, np.matmul(blocks, WAVES.T))
    clipped = ((pixels == 0) | (pixels == 255)).any(axis=2)  # noqa: PLR2004 - the ends of the scale
    usable = ~clipped.reshape(down, BLOCK, across, BLOCK).any(axis=(1, 3))
    return np.asarray(spectrum[..., _DOWN, _ACROSS], np.float32), usable


def _strips(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield strips of rows of whole tiles; the last one may be less high."""
    for start in range(0, len(pixels) // BLOCK * BLOCK, _STRIP * TILE):
        yield pixels[start : start + _STRIP * TILE]


def _tiles_and_others(pixels: NDArray[np.uint8], found: _Steps) -> tuple[int, int]:
    """Return the number of tiles that tell anything, and of those among them that do not show the steps."""
    coefficients, usable = _coefficients(pixels)
    sizes = np.abs(coefficients)
    telling = (sizes > found.steps / 2) & (sizes < _REACH) & (found.steps > 1) & usable[..., None]
    cosines = np.cos(2 * np.pi * coefficients / found.steps) * telling
    shown, expected = _sums(cosines.sum(axis=-1)), _sums((telling * found.cosines).sum(axis=-1))
    count = _sums(telling.sum(axis=-1))
    enough = count >= _FEWEST_IN_TILE
    # A cosine of a coefficient anywhere has a variance of a half.
    lacking = (expected - shown) > _DEVIATIONS * np.sqrt(0.5 * count)
    others = enough & lacking & (shown < _HALF * expected)
    return int(np.count_nonzero(enough)), int(np.count_nonzero(others))


def _sums(values: Numbers) -> Numbers:
    """Return the sums over tiles of values of blocks (rows, columns); the last tiles may have fewer blocks."""
    side = TILE // BLOCK
    rows = np.add.reduceat(np.asarray(values, np.float64), np.arange(0, values.shape[0], side), axis=0)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], side), axis=1)


def _nearest_quality(steps: Numbers, known: NDArray[np.bool_]) -> int:
    """Return the quality whose steps are nearest, in the mean ratio over the known frequencies."""
    tables = ijg_tables()[:, _DOWN, _ACROSS]
    distance = np.abs(np.log(tables[:, known] / steps[known])).mean(axis=1)
    return int(distance.argmin()) + 1
