"""Whether the masks of a set follow what its images show: a test that finds shuffled and shifted ground truth.

What was pasted in or copied over is an object more often than not, so an image has edges along the contour of a correct
mask, and they run the way the contour runs. For every image and every displacement d of its mask by up to 64 pixels,

    R(d) = mean over the contour's pixels x of  log(1 + |gradient at x + d|) cos 2 (angle of gradient - of the contour)

is computed and standardized over d. The mean of these surfaces over the images has its peak at (0, 0) if the masks
fit, elsewhere if all are displaced alike, and none that rises above the rest if masks and images have nothing to do
with each other. This is a statement about the set: one wrong mask among many is not found.

All of it happens at a working scale, the longer side at most 512 pixels. `benchmarks/alignment_check.py` measures what
the limits below rest on: correct masks of five real sets, displaced ones, shuffled ones, and small subsets of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["aligned", "shifted", "unrelated", "too few"]

WORKING_SIDE: Final = 512
REACH: Final = 64  # largest displacement that is tried, in pixels of the working scale
TOLERANCE: Final = 4.5  # pixels of the working scale: loosely drawn polygons run that far from the edges
MAX_IMAGES: Final = 200  # more would not change the outcome
LEAST_IMAGES: Final = 15  # loosely drawn masks are found aligned in 88 of 100 subsets of 12 images, in 100 of 15
LEAST_HEIGHT: Final = 6.0  # anywhere: the highest of the 16,641 points of shuffled sets reaches 4 to 5, rarely 6
LEAST_NEAR: Final = 4.0  # within the tolerance of (0, 0): shuffled sets reach 3 to 4
_PEAK_RADIUS: Final = 8  # pixels around a peak that belong to it
_DETREND_SIGMA: Final = 8.0
_NORMAL_SIGMA: Final = 2.0
_LEAST_CONTOUR: Final = 20  # pixels of contour below which an image says nothing
_LEAST_KNOWN: Final = 0.25  # share of the contour that must stay inside the image
_RESAMPLES: Final = 200
_SIDE: Final = 2 * REACH + 1


@dataclass(frozen=True)
class Alignment:
    """Where the masks of a set fit its images best.

    Attributes:
        images: Number of images that it rests on.
        shift: How far the masks lie off, (right, down), in pixels of the images' own size (at their median size, if
            they differ).
        height: Of the peak, in standard deviations of the surface away from it; 0 without images.
        rest: The highest point farther than 8 pixels from the peak, likewise.
        near_zero: The highest point within the tolerance of (0, 0), likewise.
        centred: Share of 200 bootstrap resamples of the images whose peak lies within the tolerance of (0, 0).
        verdict: What follows; "too few" if not aligned and there are too few images for any other claim.
    """

    images: int
    shift: tuple[float, float]
    height: float
    rest: float
    near_zero: float
    centred: float
    verdict: Verdict


class AlignmentMeter:
    """Collects image after image; what it keeps of each does not depend on the image's size."""

    def __init__(self) -> None:
        self._surfaces: list[NDArray[np.float32]] = []
        self._scales: list[float] = []

    def add(self, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
        """Add an image, uint8 (H, W, 3) RGB, and its mask, bool of any size; without inner contour it adds nothing."""
        height, width = image.shape[:2]
        scale = min(1.0, WORKING_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        contour = _contour(np.asarray(small, np.uint8))
        if np.count_nonzero(contour) >= _LEAST_CONTOUR:
            edges = _directed(np.asarray(grey, np.float32), sigma=1)
            self._surfaces.append(_surface(np.log1p(np.abs(edges)) * _doubled_angle(edges), contour))
            self._scales.append(scale)

    def merge(self, other: AlignmentMeter) -> None:
        """Add the images of another meter."""
        self._surfaces += other._surfaces
        self._scales += other._scales

    def result(self) -> Alignment:
        """Return what the images so far say together."""
        if not self._surfaces:
            return Alignment(0, (0.0, 0.0), height=0.0, rest=0.0, near_zero=0.0, centred=0.0, verdict="too few")
        surfaces = np.stack(self._surfaces).reshape(len(self._surfaces), -1)
        mean = surfaces.mean(axis=0).reshape(_SIDE, _SIDE)
        x, y = _peak(mean)
        away = mean[_distances(x, y) > _PEAK_RADIUS]
        spread = float(away.std()) or math.inf
        height, rest = float(mean.max()) / spread, float(away.max()) / spread
        near_zero = float(mean[_distances(0, 0) <= TOLERANCE].max()) / spread
        centred, scale = _centred_share(surfaces), median(self._scales)
        verdict = _verdict(len(surfaces), height, near_zero, centred)
        return Alignment(len(surfaces), (-x / scale, -y / scale), height, rest, near_zero, centred, verdict)


def _verdict(images: int, height: float, near_zero: float, centred: float) -> Verdict:
    """Name what the surface means; that masks fit is believed with few images, anything else needs more."""
    displaced = height >= LEAST_HEIGHT and centred < 0.5  # noqa: PLR2004 - less often than not
    if near_zero >= LEAST_NEAR and not displaced:
        return "aligned"
    if images < LEAST_IMAGES:
        return "too few"
    return "shifted" if displaced else "unrelated"


def _contour(mask: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """Return exp(2 i angle) of the mask's normal within one pixel of its contour, elsewhere 0.

    The frame of the image is no contour.
    """
    around = np.ones((3, 3), np.uint8)
    band = cv2.dilate(mask, around) - cv2.erode(mask, around)
    band[:2] = band[-2:] = 0
    band[:, :2] = band[:, -2:] = 0
    return np.asarray(band * _doubled_angle(_directed(mask.astype(np.float32), sigma=_NORMAL_SIGMA)), np.complex64)


def _directed(levels: NDArray[np.float32], *, sigma: float) -> NDArray[np.complex64]:
    """Return the gradient of the smoothed levels as x + i y."""
    smooth = cv2.GaussianBlur(levels, (0, 0), sigma)
    return np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0) + 1j * cv2.Sobel(smooth, cv2.CV_32F, 0, 1), np.complex64)


def _doubled_angle(gradient: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return exp(2 i angle): the same for an edge from dark to bright and for one from bright to dark."""
    return np.asarray((gradient / np.maximum(np.abs(gradient), 1e-6)) ** 2, np.complex64)


def _surface(edges: NDArray[np.complex64], contour: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return R of the module's formula, standardized and detrended: (129, 129), row = y + 64, column = x + 64.

    Displacements that push most of the contour out of the image say nothing and are 0.
    """
    band = np.abs(contour)
    sums, counts = _correlation(contour, edges), _count_inside(band)
    known = counts > _LEAST_KNOWN * band.sum()
    means = sums / np.maximum(counts, 1)
    centre, spread = means[known].mean(), means[known].std()
    standard = np.where(known, (means - centre) / max(spread, 1e-6), 0).astype(np.float32)
    return np.asarray(standard - cv2.GaussianBlur(standard, (0, 0), _DETREND_SIGMA), np.float32)


def _correlation(contour: NDArray[np.complex64], edges: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the real part of sum_x conj(contour(x)) edges(x + d) for all displacements d up to `REACH`."""
    product = cv2.mulSpectrums(_spectrum(edges), _spectrum(contour), flags=0, conjB=True)
    surface = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)[:, :, 0]
    window = np.arange(-REACH, REACH + 1)
    return np.asarray(surface[np.ix_(window, window)])


def _spectrum(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the Fourier transform of values, padded so that no displacement wraps round: (H', W', 2) as OpenCV."""
    height, width = values.shape
    down, right = (cv2.getOptimalDFTSize(side + 2 * REACH) - side for side in (height, width))
    pairs = np.ascontiguousarray(values).view(np.float32).reshape(height, width, 2)
    padded = cv2.copyMakeBorder(pairs, 0, down, 0, right, cv2.BORDER_CONSTANT, value=0.0)
    return np.asarray(cv2.dft(padded, nonzeroRows=height), np.float32)


def _count_inside(band: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much of the contour stays inside the image for all displacements up to `REACH`."""
    height, width = band.shape
    total = np.pad(band, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    window = np.arange(-REACH, REACH + 1)
    top, bottom = np.clip(-window, 0, height), np.clip(height - window, 0, height)
    left, right = np.clip(-window, 0, width), np.clip(width - window, 0, width)
    inside = total[np.ix_(bottom, right)] - total[np.ix_(top, right)]
    return np.asarray(inside - total[np.ix_(bottom, left)] + total[np.ix_(top, left)])


def _peak(surface: NDArray[np.float32]) -> tuple[int, int]:
    y, x = divmod(int(surface.argmax()), _SIDE)
    return x - REACH, y - REACH


def _distances(x: int, y: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    return np.asarray(np.hypot(rows - y, columns - x))


def _centred_share(surfaces: NDArray[np.float32]) -> float:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(surfaces), [1 / len(surfaces)] * len(surfaces), size=_RESAMPLES)
    peaks = [_peak(row) for row in counts.astype(np.float32) @ surfaces]
    return sum(math.hypot(x, y) <= TOLERANCE for x, y in peaks) / _RESAMPLES
