"""Where the JPEG blocks of a picture lie that was resized after it was saved: every so many pixels, but not every 8.

Boundaries of another period (`boundary_lines`) are believed for one of two reasons:

- whole: rows and columns show one factor, and blocks start at the corner, as if the picture was resized as a whole;
- free: rows and columns show any period and start, each by itself and together more clearly.

Weaker ones are candidates: of the strongest few that one is believed whose blocks show beyond doubt that they were
quantized (`quantized_blocks`). Wider blocks than 8 pixels are older than those of 8, which the last saving made.
Narrower ones must show themselves more clearly than these do: a picture of the web still has those of the photo that it
was reduced from, and the edit came after its own.

Resizing leaves a pattern of its own. Reduced or enlarged by p / 8, a picture repeats itself every q pixels where
8 / p = 1 + a / q or 1 - a / q, and such a repetition looks like boundaries too. So of the strongest period q the
periods p that explain it are looked at, and one of them is taken where it shows itself.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from nclforensics.data.quality.block_grid import BLOCK, AxisGrid, BlockGrid, find_grid
from nclforensics.data.quality.boundary_lines import LONGEST, PHASES, SHORTEST, boundary_combs
from nclforensics.data.quality.quantized_blocks import LARGEST_WINDOW, QuantizedBlocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.quality.boundary_lines import Combs

    Numbers = NDArray[np.float64]

SMALLEST: Final = 96  # pixels; a shorter axis has too few blocks
LARGEST: Final = 32_766  # pixels; OpenCV warps no longer axis
# Standard deviations; docs/decision.md has how often pictures that were not resized reach them.
_WHOLE: Final = 3.9
_FREE: Final = 3.4
_QUANTIZED: Final = 5.0  # of the quantized blocks' evidence
_WORTH_MOVING: Final = 3.8  # from there on a grid a little beside may be the right one
_MOVES: Final = (0.5, 0.25)  # pixels
_TIE: Final = 0.95
_STRONGEST: Final = 3  # candidates of each axis
_EXPLAINS: Final = 0.6  # of the strongest period's evidence: what makes a period that explains it the better reading
# Boundaries of one period make every second line of twice that period. It is the better reading where its other lines
# speak for it: in standard deviations, and as a share of the evidence for the single period.
_ODD: Final = 3.0
_ODD_SHARE: Final = 1 / 3
_SHOWS: Final = 3.0  # standard deviations; the least evidence of a period that explains another
_CYCLES: Final = (1, 3)  # the repetitions that were seen to be taken for boundaries
_SAME: Final = 1.5  # pixels over the whole axis; two periods that differ by less are one
_DISTINCT: Final = 4.0
_NEAR_CORNER: Final = 1.0  # pixels; a start so near to the border is the border,
_NEAR_WHOLE: Final = 0.6  # where the number of pixels before the resizing is so near to a whole one


class _Reading(NamedTuple):
    """A grid and the evidence for it, without the strongest line: the sum of both axes and the weaker one's."""

    grid: BlockGrid
    joint: float
    weaker: float


def find_resized_grid(pixels: NDArray[np.uint8]) -> BlockGrid | None:
    """Return the grid of a picture that was resized after it was saved; None unless there is evidence for one.

    Args:
        pixels: RGB, uint8 (H, W, 3); of a large picture some strips are looked at.
    """
    if min(pixels.shape[:2]) < SMALLEST or max(pixels.shape[:2]) > LARGEST:
        return None
    combs = boundary_combs(pixels)
    free, whole = _free(combs, pixels.shape[:2]), _whole(combs, pixels.shape[:2])
    believed = whole.grid if whole.joint > _WHOLE else None
    if free.weaker > _FREE and free.joint > whole.joint:
        believed = free.grid
    return _quantized(pixels, [free.grid, whole.grid, *_candidates(combs, pixels.shape[:2])]) or believed


def _quantized(pixels: NDArray[np.uint8], candidates: list[BlockGrid]) -> BlockGrid | None:
    """Return the candidate, or one beside it, whose blocks show beyond doubt that they were quantized, if there is."""
    blocks = QuantizedBlocks(pixels)
    best = max(candidates, key=blocks.evidence)
    if blocks.evidence(best) > _WORTH_MOVING and max(pixels.shape[:2]) <= LARGEST_WINDOW:
        best = _moved(best, blocks, pixels.shape)
    evidence = blocks.evidence(best)
    if evidence <= _QUANTIZED:
        return None
    if min(axis.period for axis in best) > BLOCK:
        return best
    return best if evidence > blocks.evidence(BlockGrid.starting_at(*find_grid(pixels))) else None


def _moved(grid: BlockGrid, blocks: QuantizedBlocks, shape: tuple[int, ...]) -> BlockGrid:
    """Return the grid after small moves of periods and starts, as long as the evidence grows; exact ones win a tie."""
    for move in _MOVES:
        while True:
            best = max(_beside(grid, shape, move), key=blocks.evidence)
            if blocks.evidence(best) <= blocks.evidence(grid):
                break
            grid = best
    exact = BlockGrid(*(_snapped(length, axis) for length, axis in zip(shape, grid, strict=False)))
    return exact if blocks.evidence(exact) > _TIE * blocks.evidence(grid) else grid


def _beside(grid: BlockGrid, shape: tuple[int, ...], move: float) -> list[BlockGrid]:
    """Return the grids whose blocks lie so many pixels elsewhere at one end of an axis, or at both."""
    beside = []
    for index, axis in enumerate(grid):
        for near, far in product((move, 0, -move), repeat=2):
            period = axis.period * (1 + (far - near) / shape[index])
            other = AxisGrid(period, (axis.start + near) % period)
            beside.append(BlockGrid(grid.rows, other) if index else BlockGrid(other, grid.columns))
    return beside


def _candidates(combs: tuple[Combs, Combs], shape: tuple[int, ...]) -> list[BlockGrid]:
    """Return the grids that the strongest periods of either axis make, with each other and with the same period."""
    strongest = [_strongest(comb, length) for comb, length in zip(combs, shape, strict=True)]
    grids = [BlockGrid(rows, columns) for rows in strongest[0] for columns in strongest[1]]
    for index in (0, 1):
        for axis in strongest[index][:1]:
            other = _of_period(combs[1 - index], axis.period, shape[1 - index])
            if other is not None:
                grids.append(BlockGrid(other, axis) if index else BlockGrid(axis, other))
    return grids


def _strongest(comb: Combs, length: int) -> list[AxisGrid]:
    """Return an axis's grids with the most evidence, of distinct periods."""
    left = comb.evidence.max(axis=1)
    grids: list[AxisGrid] = []
    for _ in range(_STRONGEST):
        best = int(left.argmax())
        if left[best] > -np.inf:
            grids.append(_at(comb, best, length))
        left = np.where(_apart(comb.periods, float(comb.periods[best]), length) < _DISTINCT, -np.inf, left)
    return grids


def _of_period(comb: Combs, period: float, length: int) -> AxisGrid | None:
    """Return the axis's grid with the most evidence of that period, or None if the period cannot be told."""
    index = _strongest_near(comb.evidence.max(axis=1), comb.periods, period, length)
    return None if index is None or comb.evidence[index].max() == -np.inf else _at(comb, index, length)


def _at(comb: Combs, index: int, length: int) -> AxisGrid:
    """Return the grid of a period at its most probable start."""
    period = float(comb.periods[index])
    return _snapped(length, AxisGrid(period, int(comb.evidence[index].argmax()) / PHASES * period))


def _whole(combs: tuple[Combs, Combs], shape: tuple[int, ...]) -> _Reading:
    """Return the best reading as a picture that was resized as a whole, both sides by one factor but for rounding."""
    longer = int(shape[1] > shape[0])
    long, short = shape[longer], shape[1 - longer]
    originals = np.arange(int(np.ceil(long * BLOCK / LONGEST)), int(long * BLOCK / SHORTEST) + 1)
    others = np.round(originals * (short / long)).astype(np.int64)[:, None] + (-1, 0, 1)
    sides = (_at_corner(combs[longer], long, originals), _at_corner(combs[1 - longer], short, others))
    closest = sides[1][0].argmax(axis=1)
    place = np.arange(len(originals))
    evidence = (sides[0][0] + sides[1][0][place, closest]) / np.sqrt(2)
    odd = (sides[0][2] + sides[1][2][place, closest]) / np.sqrt(2)
    best = _chosen(evidence, odd, long * BLOCK / originals, long)
    axes = (_resized(long, int(originals[best])), _resized(short, int(others[best, closest[best]])))
    sober = (float(sides[0][1][best]), float(sides[1][1][best, closest[best]]))
    rows, columns = axes[::-1] if longer else axes
    return _Reading(BlockGrid(rows, columns), sum(sober) / np.sqrt(2), min(sober))


def _at_corner(combs: Combs, length: int, originals: NDArray[np.int64]) -> tuple[Numbers, Numbers, Numbers]:
    """Return the evidence, the sober one and that of the odd lines for an axis that had so many pixels."""
    # The frequencies are evenly spaced, so the nearest one is found by division.
    first, step = 1 / combs.periods[0], 1 / combs.periods[1] - 1 / combs.periods[0]
    index = np.round((originals / (BLOCK * length) - first) / step).astype(np.int64)
    rows = np.clip(index, 0, len(combs.periods) - 1)[..., None]
    nearest = np.array([-1, 0, 1])  # a start at the border, but for a 32nd of a period
    best = combs.evidence[rows, nearest].argmax(axis=-1)[..., None]
    evidence, sober, odd = (
        np.take_along_axis(values[rows, nearest], best, axis=-1)[..., 0]
        for values in (combs.evidence, combs.sober, combs.odd)
    )
    return evidence, sober, odd


def _free(combs: tuple[Combs, Combs], shape: tuple[int, ...]) -> _Reading:
    """Return the best reading of each axis by itself."""
    axes, sober = [], []
    for comb, length in zip(combs, shape, strict=True):
        surest = comb.evidence.argmax(axis=1)[:, None]
        odd = np.take_along_axis(comb.odd, surest, axis=1)[:, 0]
        best = _chosen(comb.evidence.max(axis=1), odd, comb.periods, length)
        axes.append(_at(comb, best, length))
        sober.append(float(comb.sober[best, comb.evidence[best].argmax()]))
    return _Reading(BlockGrid(*axes), sum(sober) / np.sqrt(2), min(sober))


def _snapped(length: int, axis: AxisGrid) -> AxisGrid:
    """Return the exact grid of an axis that starts at the border and had a whole number of pixels, or the axis."""
    original = length * BLOCK / axis.period
    near = min(axis.start, axis.period - axis.start) < _NEAR_CORNER and abs(original - round(original)) < _NEAR_WHOLE
    return _resized(length, round(original)) if near else axis


def _resized(length: int, original: int) -> AxisGrid:
    return AxisGrid(length * BLOCK / original, 0.0)


def _chosen(evidence: Numbers, odd: Numbers, periods: Numbers, length: int) -> int:
    """Return the index of the strongest period, or of one that explains it; `odd` is what the odd lines show."""
    best = int(evidence.argmax())
    strongest = float(periods[best])
    doubled = _as_good_as(periods, 2 * strongest, length)
    evidence = np.where(doubled & (odd < max(_ODD, _ODD_SHARE * evidence[best])), -np.inf, evidence)
    explaining = [BLOCK * strongest / (strongest + sign * cycles) for cycles in _CYCLES for sign in (1, -1)]
    distinct = [period for period in explaining if abs(period - strongest) / strongest * length > _DISTINCT]
    shown = [index for period in distinct if (index := _strongest_near(evidence, periods, period, length)) is not None]
    if shown:
        index = max(shown, key=lambda at: float(evidence[at]))
        if evidence[index] > max(_SHOWS, _EXPLAINS * evidence[best]):
            return index
    double = _strongest_near(evidence, periods, 2 * strongest, length)
    return double if double is not None and evidence[double] > -np.inf else best


def _strongest_near(evidence: Numbers, periods: Numbers, period: float, length: int) -> int | None:
    """Return the index of the strongest period that is as good as the same along an axis; None if there is none."""
    near = np.flatnonzero(_as_good_as(periods, period, length))
    return int(near[evidence[near].argmax()]) if len(near) else None


def _as_good_as(periods: Numbers, period: float, length: int) -> NDArray[np.bool_]:
    """Tell which periods are as good as the same along an axis."""
    return _apart(periods, period, length) < _SAME


def _apart(periods: Numbers, period: float, length: int) -> Numbers:
    """Return how many pixels lie between the last blocks of periods and of another one that start at one place."""
    return np.asarray(np.abs(periods - period) / abs(period) * length)
