"""Whether the picture was resized: interpolated pixels are smoother than the others, at regular distances.

The mean second difference of every column (row) then rises and falls with a fixed period, which is a peak in its
spectrum. The statistic is the height of the highest peak over the median of its neighbourhood, the smaller of both
directions: a fence or a brick wall is periodic in one. Exact doubling by the usual interpolations leaves no such trace.

Sources: Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", 2005; Mahdian and Saic,
"Blind authentication using periodic properties of interpolation", 2008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nclforensics.data.quality.sampling import Luma

Spectrum = NDArray[np.float64]

PEAK_LIMIT: Final = 4.5
SHORTEST_SIDE: Final = 96
_LENGTH: Final = 1024
_FREQUENCIES: Final = np.arange(_LENGTH // 2 + 1) / _LENGTH
_LOWEST: Final = 0.06  # slower changes are those of the picture
_GRID_WIDTH: Final = 0.008  # JPEG blocks give peaks at multiples of 1/8
_NEIGHBOURHOOD: Final = 81


def resampling_peak(planes: list[Luma]) -> tuple[float, float]:
    """Return the height of the highest peak, and its frequency in cycles a pixel, in (0, 0.5].

    Args:
        planes: Brightness of parts of the picture.

    Returns:
        The height is at least 0, and 0 if the parts are smaller than SHORTEST_SIDE.
    """
    if min(planes[0].shape) < SHORTEST_SIDE:
        return 0.0, 0.0
    across = _prominence(np.sum([_spectrum(plane) for plane in planes], axis=0))
    down = _prominence(np.sum([_spectrum(plane.T) for plane in planes], axis=0))
    height = np.where(_candidates(), np.minimum(across, down), 0)
    best = int(height.argmax())
    return float(height[best]), float(_FREQUENCIES[best])


def softness(planes: list[Luma]) -> float:
    """Return how smooth the picture is from pixel to pixel: mean square step of two pixels over that of one, 1 to 4.

    White noise has 1, an enlarged picture nearly 4; 1 also where there is no step at all.
    """
    one = sum(float(np.square(plane[:, 1:] - plane[:, :-1]).sum(dtype=np.float64)) for plane in planes)
    two = sum(float(np.square(plane[:, 2:] - plane[:, :-2]).sum(dtype=np.float64)) for plane in planes)
    return two / one if one else 1.0


def _candidates() -> NDArray[np.bool_]:
    away = np.abs(_FREQUENCIES * 8 - np.rint(_FREQUENCIES * 8)) > _GRID_WIDTH * 8
    return np.asarray((_FREQUENCIES >= _LOWEST) & away)


def _spectrum(plane: Luma) -> Spectrum:
    """Return the magnitudes of the periods in the columns' mean second difference, shape of `_FREQUENCIES`."""
    second = np.abs(2 * plane[:, 1:-1] - plane[:, :-2] - plane[:, 2:])
    levels = np.log(second.mean(axis=0, dtype=np.float64) + 0.05)  # a ratio of smoothness, however strong the texture
    levels -= np.asarray(cv2.blur(levels[None], (9, 1)))[0]
    window = np.hanning(len(levels))
    return np.asarray(np.abs(np.fft.rfft(levels * window, _LENGTH)) / np.sqrt(np.square(window).sum()))


def _prominence(spectrum: Spectrum) -> Spectrum:
    """Return a spectrum relative to the median of each frequency's neighbourhood."""
    padded = np.pad(spectrum, _NEIGHBOURHOOD // 2, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURHOOD)
    return np.asarray(spectrum / (np.median(around, axis=1) + 1e-6))
