"""How strongly block boundaries of any period and start show along the axes of a picture.

At a boundary of JPEG blocks, cross differences are larger than around it. Averaged along rows and along columns they
give two profiles, and boundaries every `period` pixels make lines in a profile's spectrum, at 1, 2, 3, ... times
1 / period, with phases that agree. Chen and Hsu ("Image tampering detection by blocking periodicity analysis", 2008)
look at such lines of the period 8; of another period they tell that a picture was resized (Kirchner and Gloe, "On
resampling detection in re-compressed images", 2009).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from nclforensics.data.quality.block_grid import BLOCK
from nclforensics.data.quality.sampling import luma_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.quality.sampling import Luma

    Numbers = NDArray[np.float64]

SHORTEST: Final = 4.95  # pixels; of what was reduced further than to 62.5 %, too little is left
LONGEST: Final = 14.1  # pixels; enlarged to 175 %
# A grid of 8 that shows in parts of a picture only has lines next to its own. Periods so near to 8, and such as differ
# from it by less than a block over the whole picture, are not told from it.
_NEAR_EIGHT: Final = 0.15
PHASES: Final = 32  # starts that are looked at, of every period
_HARMONICS: Final = 4  # enlarging leaves no finer ones
_OVERSAMPLING: Final = 16  # of the frequencies: the period is exact to a fraction of a pixel over the whole picture
# A larger picture is judged by so many strips, this wide, across its whole length.
_STRIPS: Final = 4
_STRIP: Final = 256
_SURROUNDINGS: Final = 17  # pixels, odd; longer than any period
_EVENEST: Final = 0.3  # levels; surroundings with less count as having this much
_STRONGEST: Final = 4.0  # times the surroundings: an edge of the scene is no better a boundary
_LIMIT: Final = 0.6  # of a profile, above and below its surroundings


class Combs(NamedTuple):
    """What speaks for boundaries at every period and start along one axis.

    Attributes:
        periods: In pixels, falling, float64 (P,).
        evidence: Sum of the lines, in standard deviations of such a sum in noise, float64 (P, PHASES); a column stands
            for a start of that many 32nds of the period. Minus infinity where a period cannot be told from 8.
        sober: The same without the strongest line, so that no single one, which anything periodic may leave, decides.
        odd: The same of every second line from the first on, which boundaries at half the period do not have.
    """

    periods: Numbers
    evidence: Numbers
    sober: Numbers
    odd: Numbers


def boundary_combs(pixels: NDArray[np.uint8]) -> tuple[Combs, Combs]:
    """Return the combs of the rows and of the columns of a picture, RGB (H, W, 3); both of the same periods."""
    size = 1 << int(np.ceil(np.log2(_OVERSAMPLING * max(pixels.shape[:2]))))
    down, across = (_strips(length) for length in pixels.shape[:2])
    columns = [_stand_out(pixels[strip]) for strip in down]
    rows = columns if len(down) == len(across) == 1 else [_stand_out(pixels[:, strip]) for strip in across]
    return _combs(_profile(rows, axis=1), size), _combs(_profile(columns, axis=0), size)


def _strips(length: int) -> list[slice]:
    if length <= _STRIPS * _STRIP:
        return [slice(0, length)]
    return [slice(start, start + _STRIP) for start in np.linspace(0, length - _STRIP, _STRIPS).astype(int).tolist()]


def _stand_out(pixels: NDArray[np.uint8]) -> Luma:
    """Return by how many times the cross differences surpass their surroundings, (H - 1, W - 1)."""
    luma = luma_of(pixels)
    levels = luma[:-1] - luma[1:]
    cross = np.abs(levels[:, :-1] - levels[:, 1:])
    cross /= cv2.blur(cross, (_SURROUNDINGS, _SURROUNDINGS)) + np.float32(_EVENEST)
    return np.minimum(cross, np.float32(_STRONGEST), out=cross)


def _profile(maps: list[Luma], *, axis: int) -> Numbers:
    """Return how far each place between two rows or columns stands out; the value n stands between n and n + 1."""
    mean = np.asarray(np.mean([each.mean(axis=axis, dtype=np.float64) for each in maps], axis=0))
    return _without_eights(np.clip(mean - _smooth(mean, _SURROUNDINGS), -_LIMIT, _LIMIT))


def _without_eights(profile: Numbers) -> Numbers:
    """Return a profile without what repeats every 8 pixels: the last saving may hide an older grid."""
    left = profile.copy()
    for start in range(BLOCK):
        left[start::BLOCK] -= left[start::BLOCK].mean()
    return left


def _combs(profile: Numbers, size: int) -> Combs:
    lines = _whitened(np.fft.rfft(profile - profile.mean(), size))
    # The first value stands one pixel from the picture's border: turned so that phase 0 is a boundary at the border.
    lines *= np.exp(-2j * np.pi * np.arange(len(lines)) / size)
    index = np.arange(int(np.ceil(size / LONGEST)), int(size / SHORTEST) + 1)
    turn = np.exp(2j * np.pi * np.arange(PHASES) / PHASES)
    total, count = np.zeros((len(index), PHASES)), np.zeros((len(index), 1))
    odd, odd_count = np.zeros_like(total), np.zeros_like(count)
    strongest = np.full_like(total, -np.inf)
    for harmonic in range(1, _HARMONICS + 1):
        within = harmonic * index <= size // 2
        line = np.real(lines[harmonic * index[within], None] * turn**harmonic)
        total[within] += line
        count[within] += 1
        if harmonic % 2:
            odd[within] += line
            odd_count[within] += 1
        strongest[within] = np.maximum(strongest[within], line)
    periods = size / index
    # The real part of a line of noise has half of its power.
    evidence, sober = total / np.sqrt(count / 2), (total - strongest) / np.sqrt((count - 1) / 2)
    eight = np.abs(periods - BLOCK) < max(_NEAR_EIGHT, BLOCK * BLOCK / len(profile))
    evidence[eight] = sober[eight] = -np.inf
    return Combs(periods, evidence, sober, odd / np.sqrt(odd_count / 2))


def _whitened(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return a spectrum over the root of the mean power around each frequency."""
    power = _smooth(np.abs(spectrum) ** 2, max(3, len(spectrum) // 20) | 1)
    return np.asarray(spectrum / (np.sqrt(np.maximum(power, 0)) + np.finfo(np.float64).tiny))


def _smooth(values: Numbers, width: int) -> Numbers:
    """Return the mean of so many values, an odd number, around each."""
    around = np.concatenate([[0], np.pad(values, width // 2, mode="reflect").cumsum()])
    return np.asarray((around[width:] - around[:-width]) / width)
