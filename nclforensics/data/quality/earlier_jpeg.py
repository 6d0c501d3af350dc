"""Whether the picture was a JPEG before it was saved as it is now, and at which quality.

DCT coefficients of a picture that was quantized before keep that pattern: histograms with gaps and peaks. What they
would look like without it is learned from the picture itself, cut half a block off the grid, where the pattern is lost.
For each quality, the histogram that an earlier saving would have left is predicted from that, and the statistic is the
mean gain in log-likelihood over the prediction without an earlier saving, in nats a coefficient.

Sources: Lukas and Fridrich, "Estimation of primary quantization matrix in double compressed JPEG images", 2003 (the
prediction from the shifted picture). The likelihood and the limit are this project's own; docs/decision.md has their
error rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.sampling import blocks_of

if TYPE_CHECKING:
    from nclforensics.data.quality.jpeg_coding import Table
    from nclforensics.data.quality.sampling import Luma

Counts = NDArray[np.float64]

GAIN_LIMIT: Final = 0.02
LOWEST_QUALITY, HIGHEST_QUALITY = 20, 98
UNQUANTIZED: Final = np.ones((8, 8), np.int64)  # the steps of pixels that are whole numbers and nothing more
FREQUENCIES: Final = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))
# The orthonormal DCT-II of 8 samples at the frequencies 0, 1 and 2, float32 (3, 8).
WAVES: Final = np.asarray(cv2.dct(np.eye(8, dtype=np.float32), flags=cv2.DCT_ROWS).T[:3], np.float32)
CLIPPED: Final = (0.5, 254.5)  # a block with a level beyond these has lost its pattern
_REACH: Final = 64  # larger coefficients are too rare to show a pattern
_FINE: Final = 0.25
_CENTRES: Final = (np.arange(-_REACH / _FINE, _REACH / _FINE) + 0.5) * _FINE
_ROUNDING: Final = 1.25  # width over which a coefficient spreads once pixels were rounded between the two savings
# Off the grid, coefficients are somewhat smaller than on it: the more so, the coarser the last steps.
_SHRINKAGE: Final = np.linspace(0, 0.4, 6)
_COARSE: Final = 10
_BROAD: Final = 0.02  # share of a prediction that is spread to the neighbours: it is never quite right
FEWEST_BLOCKS: Final = 64


def earlier_jpeg(
    planes: list[Luma], *, steps: Table = UNQUANTIZED, corner: tuple[int, int] = (0, 0)
) -> tuple[float, int]:
    """Return the gain of the quality that explains the coefficients best, and that quality.

    Args:
        planes: Brightness of parts of the picture whose corners lie on a multiple of 8.
        steps: The steps of the last JPEG saving, whose grid starts at the corner; ones for a lossless file.
        corner: Row and column, 0 to 7, where the earlier saving's grid starts.

    Returns:
        The gain in nats a coefficient; 0 if there are too few blocks. It grows with the strength of the traces.
    """
    down, right = corner
    aligned = _coefficients(planes, down, right)
    shifted = _coefficients(planes, (down + 4) % 8, (right + 4) % 8)
    qualities = np.arange(LOWEST_QUALITY, HIGHEST_QUALITY + 1)
    gains = np.zeros(len(qualities))
    total = 0.0
    if len(aligned) >= FEWEST_BLOCKS:
        for index, place in enumerate(FREQUENCIES):
            last = int(steps[place])
            observed = _histogram(aligned[:, index], last)
            fine = _fine_histogram(shifted[:, index])
            first, which = np.unique(ijg_tables()[qualities - 1, place[0], place[1]], return_inverse=True)
            scales = 1 + min(last, _COARSE) / _COARSE * _SHRINKAGE
            once = [float((_logarithm(_saved_once(fine, last, scale)) @ observed)[0]) for scale in scales]
            scale = scales[int(np.argmax(once))]
            gains += (_logarithm(_saved_twice(fine, first, last, scale)) @ observed)[which] - max(once)
            total += observed.sum()
    best = int(gains.argmax())
    return (float(gains[best] / total) if total else 0.0), int(qualities[best])


def _coefficients(planes: list[Luma], down: int, right: int) -> NDArray[np.float32]:
    """Return low-frequency DCT coefficients (N, 8) of all blocks without clipped pixels, on a grid's corner."""
    blocks = np.concatenate([blocks_of(plane[down:, right:], 8) for plane in planes])
    flat = blocks.reshape(-1, 64)
    blocks = blocks[(flat.min(axis=1) > CLIPPED[0]) & (flat.max(axis=1) < CLIPPED[1])]
    spectrum = np.matmul(WAVES, np.matmul(blocks, WAVES.T))
    return np.stack([spectrum[:, row, column] for row, column in FREQUENCIES], axis=1)


def _histogram(values: NDArray[np.float32], step: int) -> Counts:
    """Return how often each multiple of the step occurs, up to the reach on both sides; signs are not told apart."""
    most = _REACH // step
    levels = np.abs(np.rint(values / step)).astype(np.int64)
    half = np.bincount(levels[levels <= most], minlength=most + 1).astype(np.float64)
    return np.concatenate([half[:0:-1], half])


def _fine_histogram(values: NDArray[np.float32]) -> Counts:
    """Return how often each of the fine bins occurs, shape of `_CENTRES`; signs are not told apart."""
    bins = np.floor(np.abs(values) / _FINE).astype(np.int64)
    half = np.bincount(bins[bins < len(_CENTRES) // 2], minlength=len(_CENTRES) // 2).astype(np.float64)
    return np.concatenate([half[::-1], half])


def _saved_once(fine: Counts, last: int, scale: float) -> Counts:
    """Return what the multiples of the last step would get, shape (1, M)."""
    most = _REACH // last
    levels = np.rint(_CENTRES * scale / last).astype(np.int64)
    inside = np.abs(levels) <= most
    counts = np.bincount(levels[inside] + most, fine[inside], 2 * most + 1)
    return np.asarray(counts, np.float64)[None]


def _saved_twice(fine: Counts, first: Table, last: int, scale: float) -> Counts:
    """Return what they would get after an earlier saving with each of the first steps (F,), shape (F, M)."""
    most = _REACH // last
    place = np.rint(_CENTRES * scale / first[:, None]) * first[:, None] / last
    lower = np.floor(place)
    upper_share = np.clip((place - lower - 0.5) * last / _ROUNDING + 0.5, 0, 1)
    bins = 2 * most + 3  # one more at either end, for what falls outside
    index = np.clip(lower.astype(np.int64) + most + 1, 0, bins - 2) + np.arange(len(first))[:, None] * bins
    size = bins * len(first)
    counts = np.bincount(index.ravel(), (fine * (1 - upper_share)).ravel(), size)
    counts += np.bincount(index.ravel() + 1, (fine * upper_share).ravel(), size)
    return np.asarray(counts, np.float64).reshape(len(first), bins)[:, 1:-1]


def _logarithm(counts: Counts) -> Counts:
    """Return the logarithm of the probabilities that counts (F, M) stand for; no value is impossible."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    broad = np.asarray(cv2.blur(shares, (9, 1), borderType=cv2.BORDER_CONSTANT), np.float64) + 1e-4
    mixed = (1 - _BROAD) * shares + _BROAD * broad
    return np.asarray(np.log(mixed / mixed.sum(axis=1, keepdims=True)), np.float64)
