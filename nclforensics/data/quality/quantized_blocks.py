"""How strongly a grid of blocks, of any period and start, shows that its blocks were quantized as JPEG quantizes them.

Brought back to 8 x 8 pixels, the blocks of a picture that was resized after it was saved have DCT coefficients that
still crowd at the multiples of the steps they were quantized with. Half a block off the grid they do not. So each of
some low frequencies and each step gets the mean of cos(2 pi c / step) over the blocks' coefficients c, less that half a
block off; frequencies are put together by the steps that one quality of the IJG scale has for them.

Resampling and DCT are linear and act on rows and columns apart: one matrix an axis takes pixels to coefficients, and a
grid is looked at without resampling the picture.

Sources: Lukas and Fridrich, "Estimation of primary quantization matrix in double compressed JPEG images", 2003, for the
comparison with the picture off its grid; Bianchi and Piva, "Reverse engineering of double JPEG compression in the
presence of image resizing", 2012, who tell a resized picture's former grid by how near to a lattice its coefficients
lie. The statistic is this project's own; docs/decision.md has its error rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.data.quality.block_grid import BLOCK
from nclforensics.data.quality.earlier_jpeg import CLIPPED, FEWEST_BLOCKS, FREQUENCIES, WAVES
from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.sampling import luma_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid

    Numbers = NDArray[np.float64]
    Matrix = NDArray[np.float32]

LARGEST_WINDOW: Final = 384  # pixels; of a longer axis its middle is looked at
_TAPS: Final = np.arange(-3, 5)  # of the interpolation
_LOBES: Final = 4
_STEPS: Final = np.arange(2, 41)
_QUALITIES: Final = ijg_tables()[29:96]  # 30 to 96
_OF_QUALITIES: Final = np.stack([_QUALITIES[:, down, across] for down, across in FREQUENCIES], axis=1)
# Where each quality's step stands among the steps, and behind the last one where it is none of them.
_PLACES: Final = np.where(np.isin(_OF_QUALITIES, _STEPS), _OF_QUALITIES - _STEPS[0], len(_STEPS))
_LARGEST: Final = 80  # coefficient that is counted: larger ones are rare
_FINE: Final = 0.25  # bins of coefficients
_COSINES: Final = np.cos(2 * np.pi * np.arange(0, _LARGEST + _FINE, _FINE)[:, None] / _STEPS)


class QuantizedBlocks:
    """Measures grids of one picture.

    Args:
        pixels: RGB, uint8 (H, W, 3).
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._first = [max(0, (length - LARGEST_WINDOW) // 2) for length in pixels.shape[:2]]
        top, left = self._first
        self._luma = luma_of(pixels[top : top + LARGEST_WINDOW, left : left + LARGEST_WINDOW])
        self._clipped = ((self._luma < CLIPPED[0]) | (self._luma > CLIPPED[1])).astype(np.float32)
        self._any_clipped = bool(self._clipped.any())
        self._rows: dict[AxisGrid, tuple[Matrix, Matrix]] = {}
        self._columns: dict[AxisGrid, tuple[Matrix, Matrix]] = {}
        self._known: dict[BlockGrid, float] = {}

    def evidence(self, grid: BlockGrid) -> float:
        """Return what speaks for a grid, in standard deviations of the sum over frequencies; 0 with too few blocks.

        The best of all qualities is taken, so a grid that is none has about 2, and more where many grids are tried.
        """
        if grid not in self._known:
            self._known[grid] = self._evidence(grid)
        return self._known[grid]

    def _evidence(self, grid: BlockGrid) -> float:
        rows, clipped_rows = self._of_rows(grid.rows)
        columns, clipped_columns = self._of_columns(grid.columns)
        down, across = rows.shape[1], columns.shape[1]
        if down * across < FEWEST_BLOCKS:
            return 0.0
        coefficients = _times(rows, columns).reshape(2, down, len(WAVES), 2, across, len(WAVES))
        clean = np.ones((2, down, 2, across), np.bool_)
        if self._any_clipped:
            clean = _times(clipped_rows, clipped_columns).reshape(clean.shape) < 0.5  # noqa: PLR2004 - none
        means, counts = [], []
        for place in ((0, 0), (0, 1), (1, 0), (1, 1)):  # on the grid, and half a block off along one axis or both
            usable = clean[place[0], :, place[1]]
            counts.append(np.count_nonzero(usable))
            if counts[-1] < FEWEST_BLOCKS:
                return 0.0
            means.append(_mean_cosines(coefficients[place[0], :, :, place[1]], usable))
        off = np.mean(means[1:], axis=0)
        # A cosine of noise has a variance of a half, and three means of as many are subtracted as one.
        return _best_quality((means[0] - off) * np.sqrt(counts[0] / (0.5 * 4 / 3)))

    def _of_rows(self, axis: AxisGrid) -> tuple[Matrix, Matrix]:
        """Return frequencies down each column of pixels, and how many clipped pixels a block has there."""
        if axis not in self._rows:
            waves, members = _axis_matrices(axis, self._first[0], len(self._luma))
            self._rows[axis] = (waves @ self._luma, members @ self._clipped if self._any_clipped else members)
        return self._rows[axis]

    def _of_columns(self, axis: AxisGrid) -> tuple[Matrix, Matrix]:
        if axis not in self._columns:
            self._columns[axis] = _axis_matrices(axis, self._first[1], self._luma.shape[1])
        return self._columns[axis]


def _axis_matrices(axis: AxisGrid, first: int, length: int) -> tuple[Matrix, Matrix]:
    """Return what takes `length` pixels from `first` on to waves of their blocks, and tells a block's pixels.

    Returns:
        Shapes (2, N, 3, length) and (2, N, length); the second half of either is half a block off the grid.
    """
    starts = [axis.start - first + half * axis.period / 2 for half in (0, 1)]
    count = min(int((length - _LOBES - start) // axis.period) - _first_block(start, axis.period) for start in starts)
    waves, members = [], []
    for start in starts:
        blocks = _first_block(start, axis.period) + np.arange(max(0, count))[:, None]
        places = start + blocks * axis.period + (np.arange(BLOCK) + 0.5) * axis.period / BLOCK - 0.5
        near = np.floor(places).astype(np.int64)[..., None] + _TAPS
        distance = places[..., None] - near
        weights = np.sinc(distance) * np.sinc(distance / _LOBES)
        sampling = np.zeros((len(blocks), BLOCK, length), np.float32)
        np.put_along_axis(sampling, near, weights / weights.sum(axis=-1, keepdims=True), axis=2)
        waves.append(np.matmul(WAVES, sampling))
        pixels = np.arange(length)
        members.append((pixels > places[:, :1] - 1) & (pixels < places[:, -1:] + 1))
    return np.stack(waves), np.stack(members).astype(np.float32)


def _first_block(start: float, period: float) -> int:
    """Return the number of the first block whose pixels, and those around, lie within the window."""
    return int(np.ceil((_LOBES - start) / period))


def _times(rows: Matrix, columns: Matrix) -> Matrix:
    return rows.reshape(-1, rows.shape[-1]) @ columns.reshape(-1, columns.shape[-1]).T


def _mean_cosines(coefficients: Matrix, usable: NDArray[np.bool_]) -> Numbers:
    """Return the means for each frequency and step, (8, S), of coefficients (rows, 3, columns, 3)."""
    values = np.stack([coefficients[:, down, :, across][usable] for down, across in FREQUENCIES])
    bins = np.rint(np.minimum(np.abs(values), 2 * _LARGEST) / _FINE).astype(np.int64)
    most = len(_COSINES)  # where those are counted that are too large
    places = np.minimum(bins, most) + np.arange(len(values))[:, None] * (most + 1)
    counts = np.bincount(places.ravel(), minlength=len(values) * (most + 1)).reshape(len(values), -1)
    return np.asarray(counts[:, :most] @ _COSINES / values.shape[1])


def _best_quality(evidence: Numbers) -> float:
    """Return the largest sum over the frequencies, each at the step that a quality has for it; beyond all steps 0."""
    padded = np.concatenate([evidence, np.zeros((len(evidence), 1))], axis=1)
    return float(padded[np.arange(len(evidence)), _PLACES].sum(axis=1).max() / np.sqrt(len(evidence)))
