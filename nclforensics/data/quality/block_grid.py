"""Where a picture's grid of 8 x 8 JPEG blocks starts: at its corner, unless it was cropped after it was saved.

Narrow strips vote for the place modulo 8 at which their cross differences are largest, since blocks were coded without
regard to each other (Chen and Hsu, "Image tampering detection by blocking periodicity analysis", 2008). After two
savings the coarser grid wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from nclforensics.data.quality.sampling import luma_of, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.quality.sampling import Luma

BLOCK: Final = 8
_STRIP: Final = 16
_STRONGEST_EDGE: Final = 16.0
# A grid elsewhere than at the corner is believed where so large a share of the strips agrees, and so many of them.
_CONVINCING_SHARE: Final = 0.4
_FEWEST_VOTES: Final = 5


class AxisGrid(NamedTuple):
    """Block boundaries along an axis, at start + k period, in pixels from where the picture begins."""

    period: float
    start: float


class BlockGrid(NamedTuple):
    """Where the blocks of a picture lie."""

    rows: AxisGrid
    columns: AxisGrid

    @property
    def resized(self) -> bool:
        """Whether blocks are not 8 pixels high and wide."""
        return (self.rows.period, self.columns.period) != (BLOCK, BLOCK)

    @classmethod
    def starting_at(cls, row: int, column: int) -> BlockGrid:
        """Return the grid of blocks of 8 x 8 pixels, one of which starts there."""
        return cls(AxisGrid(BLOCK, row), AxisGrid(BLOCK, column))


def find_grid(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return row and column, 0 to 7, where the grid starts; (0, 0) unless strips agree on another place both ways.

    Args:
        pixels: RGB, uint8 (H, W, 3); of a large image some fixed windows are looked at.
    """
    votes = _votes([luma_of(window) for window in windows(pixels)])
    most, all_strips = votes.max(axis=1), votes.sum(axis=1)
    if (most < np.maximum(_FEWEST_VOTES, _CONVINCING_SHARE * all_strips)).any():
        return 0, 0
    return _corner(votes)


def grid_corner(planes: list[Luma]) -> tuple[int, int]:
    """Return row and column, 0 to 7, where the grid most likely starts, however unlikely that is."""
    return _corner(_votes(planes))


def _corner(votes: NDArray[np.int64]) -> tuple[int, int]:
    row, column = votes.argmax(axis=1)
    # The difference of the pixels n and n + 1 stands at n: a block that starts at n + 1 shows there.
    return int(row + 1) % BLOCK, int(column + 1) % BLOCK


def _votes(planes: list[Luma]) -> NDArray[np.int64]:
    """Return the number of strips, shape (2, 8): those of columns vote for a row, those of rows for a column."""
    votes = np.zeros((2, BLOCK), np.int64)
    for plane in planes:
        levels = plane[:-1] - plane[1:]
        cross = np.minimum(np.abs(levels[:, :-1] - levels[:, 1:]), _STRONGEST_EDGE)
        for axis, differences in enumerate((cross.T, cross)):
            votes[axis] += _votes_of_strips(differences)
    return votes


def _votes_of_strips(differences: Luma) -> NDArray[np.int64]:
    """Return how many strips of rows have their largest mean difference in each column modulo 8, shape (8,).

    A strip of one colour, of a white margin or a black bar, has none and does not vote.
    """
    strips, periods = differences.shape[0] // _STRIP, differences.shape[1] // BLOCK
    if not strips or not periods:
        return np.zeros(BLOCK, np.int64)
    cut = differences[: strips * _STRIP, : periods * BLOCK].reshape(strips, _STRIP, periods, BLOCK)
    means = cut.mean(axis=(1, 2))
    return np.bincount(means.argmax(axis=1)[means.any(axis=1)], minlength=BLOCK)
