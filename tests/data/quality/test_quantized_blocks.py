"""What speaks for a grid of quantized blocks: against the formula, on its own grid, off it, and where there is none."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import pytest

from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid
from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.quantized_blocks import LARGEST_WINDOW, QuantizedBlocks
from nclforensics.data.quality.sampling import luma_of
from tests.textures import make_texture, saved

CORNER = BlockGrid.starting_at(0, 0)
CERTAIN = 10.0
CHANCE = 4.5


def _by_the_formula(pixels: np.ndarray, grid: BlockGrid) -> float:
    """Return the evidence block by block, sample by sample."""
    luma = luma_of(pixels)
    frequencies = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2)]
    on, *off = [_coefficients(luma, grid, down, across) for down, across in ((0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5))]

    def z(place: tuple[int, int], step: int) -> float:
        def mean(blocks: list[np.ndarray]) -> float:
            near = [abs(block[place]) for block in blocks if abs(block[place]) <= 80.125]
            return sum(math.cos(2 * math.pi * round(value * 4) / 4 / step) for value in near) / len(blocks)

        return (mean(on) - sum(map(mean, off)) / 3) * math.sqrt(len(on) / (0.5 * (1 + 1 / 3)))

    sums = []
    for quality in range(30, 97):
        steps = {place: int(ijg_tables()[quality - 1][place]) for place in frequencies}
        sums.append(sum(z(place, step) for place, step in steps.items() if 2 <= step <= 40) / math.sqrt(8))
    return max(sums)


def _coefficients(luma: np.ndarray, grid: BlockGrid, down: float, across: float) -> list[np.ndarray]:
    """Return the DCT of every block that lies in the picture with all that its samples are interpolated from."""
    places = []
    for axis, length, shift in zip(grid, luma.shape, (down, across), strict=True):
        inside = {}
        for half in (0.0, 0.5):
            begins = [axis.start + (number + half) * axis.period for number in range(-2, length)]
            inside[half] = [start for start in begins if start >= 4 and start + axis.period <= length - 4]
        count = min(map(len, inside.values()))  # as many on the grid as half a block off
        places.append(
            [[start + (k + 0.5) * axis.period / 8 - 0.5 for k in range(8)] for start in inside[shift][:count]]
        )
    blocks = []
    for rows in places[0]:
        for columns in places[1]:
            part = luma[
                math.floor(rows[0]) : math.ceil(rows[-1]) + 1, math.floor(columns[0]) : math.ceil(columns[-1]) + 1
            ]
            if part.min() >= 0.5 and part.max() <= 254.5:
                blocks.append(cv2.dct(np.array([[_sample(luma, y, x) for x in columns] for y in rows])))
    return blocks


@cache
def _weights(place: float) -> tuple[slice, np.ndarray]:
    """Return the Lanczos weights of four lobes at a place, and of which pixels they are."""
    first = math.floor(place) - 3
    weights = np.array([np.sinc(place - n) * np.sinc((place - n) / 4) for n in range(first, first + 8)])
    return slice(first, first + 8), weights / weights.sum()


def _sample(luma: np.ndarray, y: float, x: float) -> float:
    """Return the picture interpolated at a place."""
    (rows, down), (columns, across) = _weights(y), _weights(x)
    return float(down @ luma[rows, columns] @ across)


@pytest.mark.parametrize(
    "grid",
    [CORNER, BlockGrid(AxisGrid(10.0, 0.0), AxisGrid(9.5, 3.0)), BlockGrid(AxisGrid(6.5, 5.0), AxisGrid(7.0, 0.0))],
)
def test_evidence_is_what_the_formula_says(grid: BlockGrid) -> None:
    """Computed slowly, without matrices."""
    picture = saved(make_texture(112, 120), 70)
    picture[40:60, 50:70] = 255  # blocks with clipped pixels do not count
    assert QuantizedBlocks(picture).evidence(grid) == pytest.approx(_by_the_formula(picture, grid), abs=0.15)


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_a_saved_picture_shows_its_own_grid(quality: int) -> None:
    """Wherever it starts, and nowhere else."""
    blocks = QuantizedBlocks(saved(make_texture(), quality)[3:, 5:])
    assert blocks.evidence(BlockGrid.starting_at(5, 3)) > CERTAIN
    assert blocks.evidence(CORNER) < CHANCE


@pytest.mark.parametrize(("height", "width"), [(480, 461), (346, 307)])
def test_a_resized_picture_shows_the_grid_it_had(height: int, width: int) -> None:
    """Enlarged or reduced, each side by its own factor; a grid a little beside shows less."""
    picture = saved(make_texture(), 80)
    how = cv2.INTER_CUBIC if height > 384 else cv2.INTER_AREA
    blocks = QuantizedBlocks(np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8))
    grid = BlockGrid(AxisGrid(height / 48, 0.0), AxisGrid(width / 48, 0.0))
    beside = BlockGrid(AxisGrid(height / 48, 2.0), grid.columns)
    assert blocks.evidence(grid) > CERTAIN
    assert blocks.evidence(beside) < blocks.evidence(grid) / 2
    assert blocks.evidence(CORNER) < CHANCE


def test_pixels_that_were_never_saved_show_no_grid() -> None:
    """Of many grids the best one stays below what is believed."""
    blocks = QuantizedBlocks(make_texture())
    grids = [
        BlockGrid(AxisGrid(a, s), AxisGrid(b, s)) for a in (6.1, 8.0, 9.3) for b in (5.2, 8.0, 11.0) for s in (0, 3)
    ]
    assert max(map(blocks.evidence, grids)) < CHANCE


def test_of_a_long_axis_the_middle_is_looked_at() -> None:
    """What lies outside of the window changes nothing, and the grid is that of the whole picture."""
    side = LARGEST_WINDOW + 250
    picture = saved(make_texture(side, side), 75)
    other = picture.copy()
    other[:120], other[:, -120:] = 0, 0
    assert QuantizedBlocks(picture).evidence(CORNER) > CERTAIN
    assert QuantizedBlocks(other).evidence(CORNER) == QuantizedBlocks(picture).evidence(CORNER)


def test_too_few_blocks_show_nothing() -> None:
    """As in a picture with few of them, or where almost all are clipped."""
    picture = saved(make_texture(), 75)
    assert QuantizedBlocks(picture[:64, :64]).evidence(CORNER) == 0.0
    assert QuantizedBlocks(picture[:7, :9]).evidence(CORNER) == 0.0
    picture[:, 16:] = 255
    assert QuantizedBlocks(picture).evidence(CORNER) == 0.0
