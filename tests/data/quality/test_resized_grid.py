"""The JPEG grid of a resized picture: found with its factor and place, and believed only where there is evidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.quality import resized_grid
from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid
from nclforensics.data.quality.boundary_lines import PHASES, Combs
from nclforensics.data.quality.quantized_blocks import QuantizedBlocks
from nclforensics.data.quality.resized_grid import LARGEST, SMALLEST, find_resized_grid
from tests.textures import make_texture, saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 384


def _resized(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    how = cv2.INTER_CUBIC if height > len(picture) else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


@pytest.mark.parametrize(
    ("factor", "quality"),
    [(1.75, 90), (1.5, 75), (1.25, 90), (1.1, 90), (1.1, 75), (0.9, 75), (0.875, 75), (0.8, 75)],
)
def test_the_grid_of_a_resized_jpeg_is_found(factor: float, quality: int) -> None:
    """With the factor to the pixel, and starting at the border."""
    height, width = round(SIDE * factor), round(320 * factor)
    grid = find_resized_grid(_resized(saved(make_texture(SIDE, 320), quality), height, width))
    assert grid is not None
    assert grid.resized
    assert grid.rows == AxisGrid(height * 8 / SIDE, 0)
    assert grid.columns == AxisGrid(width * 8 / 320, 0)


@pytest.mark.parametrize(("quality", "last"), [(75, 98), (75, 95), (60, 95), (50, 88)])
def test_a_last_saving_does_not_hide_it(quality: int, last: int) -> None:
    """Its own grid is put aside, however much clearer it is."""
    grid = find_resized_grid(saved(_resized(saved(make_texture(512, 512), quality), 640, 640), last))
    assert grid is not None
    assert grid.rows == grid.columns == AxisGrid(10, 0)


def test_each_axis_may_have_its_own_factor_and_start() -> None:
    """As after a crop, and where a picture was pulled to another shape."""
    larger = _resized(saved(make_texture(), 75), 480, 552)
    grid = find_resized_grid(larger[3:, 7:])
    assert grid is not None
    for axis, period, start in ((grid.rows, 10.0, 7.0), (grid.columns, 11.5, 4.5)):
        assert axis.period == pytest.approx(period, abs=0.03)
        assert axis.start == pytest.approx(start, abs=0.6)


@pytest.mark.parametrize("seed", range(4))
def test_no_grid_is_found_where_nothing_was_resized(seed: int) -> None:
    """In pixels that were never saved, that were saved once, or cropped and saved once more."""
    picture = make_texture(seed=seed)
    assert find_resized_grid(picture) is None
    assert find_resized_grid(saved(picture, 75)) is None
    assert find_resized_grid(saved(picture, 75)[3:, 5:]) is None
    assert find_resized_grid(saved(saved(picture, 80)[3:, 5:], 85)) is None


def test_a_grid_in_a_part_of_the_picture_is_none_of_almost_its_period() -> None:
    """A part that was saved more strongly, and cut in, has lines next to those of 8."""
    picture = saved(make_texture(640, 640), 95)
    picture[96:360, 200:456] = saved(make_texture(640, 640), 30)[96:360, 200:456]
    assert find_resized_grid(picture) is None


@pytest.mark.parametrize(("height", "width"), [(288, 288), (320, 346), (461, 410)])
def test_weak_boundaries_are_enough_where_blocks_show_their_steps(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found, to the pixel, by no other evidence."""
    monkeypatch.setattr(resized_grid, "_FREE", math.inf)
    monkeypatch.setattr(resized_grid, "_WHOLE", math.inf)
    picture = _resized(saved(make_texture(), 75), height, width)
    grid = find_resized_grid(picture)
    assert grid is not None
    assert grid == BlockGrid(AxisGrid(height / 48, 0), AxisGrid(width / 48, 0))
    monkeypatch.setattr(resized_grid, "_QUANTIZED", math.inf)
    assert find_resized_grid(picture) is None


def test_a_grid_beside_the_right_one_is_moved_onto_it() -> None:
    """Where the lines are weak, period and start are not told to the pixel."""
    picture = _resized(saved(make_texture(), 75), 320, 346)
    right = BlockGrid(AxisGrid(320 / 48, 0), AxisGrid(346 / 48, 0))
    blocks = QuantizedBlocks(picture)
    beside = BlockGrid(AxisGrid(320 / 48, 0.25), right.columns)
    moved = resized_grid._quantized(picture, [beside])
    assert moved is not None
    assert blocks.evidence(moved) > max(blocks.evidence(beside), 0.9 * blocks.evidence(right))
    both = BlockGrid(AxisGrid(320 / 48 * (1 + 1 / 320), 0.5), AxisGrid(346 / 48 * (1 - 1 / 346), 0.25))
    assert resized_grid._moved(both, blocks, picture.shape) == right


def test_an_older_grid_beneath_that_of_the_last_saving_is_no_candidate_in_a_reduced_picture() -> None:
    """A small picture of the web was reduced before it was saved: its own blocks are those to look at."""
    reduced = _resized(saved(make_texture(512, 512), 50), 384, 384)
    grid = BlockGrid(AxisGrid(6, 0), AxisGrid(6, 0))
    assert resized_grid._quantized(reduced, [grid]) == grid
    hidden = saved(reduced, 85)
    evidence = QuantizedBlocks(hidden).evidence
    assert resized_grid._QUANTIZED < evidence(grid) < evidence(BlockGrid.starting_at(0, 0))
    assert resized_grid._quantized(hidden, [grid]) is None


def test_in_an_enlarged_one_it_is_however_much_clearer_the_last_saving_shows() -> None:
    """The blocks of 8 pixels are the last saving's; what was there before the picture was enlarged is wider."""
    hidden = saved(_resized(saved(make_texture(256, 256), 50), 384, 384), 85)
    grid = BlockGrid(AxisGrid(12, 0), AxisGrid(12, 0))
    evidence = QuantizedBlocks(hidden).evidence
    assert resized_grid._QUANTIZED < evidence(grid) < evidence(BlockGrid.starting_at(0, 0))
    assert resized_grid._quantized(hidden, [grid]) == grid


@pytest.mark.parametrize("clear", [0, 1])
def test_the_clear_axis_says_what_the_other_may_be(clear: int) -> None:
    """However many other periods show themselves more clearly there."""
    periods = np.linspace(14, 5, 901)

    def comb(strengths: dict[float, float], phase: int) -> Combs:
        evidence = np.zeros((len(periods), PHASES))
        for at, strength in strengths.items():
            evidence[:, phase] += strength * np.exp(-(((periods - at) / 0.01) ** 2))
        return Combs(periods, evidence, evidence, evidence)

    combs = [comb({9.0: 9, 5.5: 8, 6.0: 8, 6.6: 7, 12.0: 7}, 8)]
    combs.insert(clear, comb({6.6: 20}, 16))
    first = next(axis for axis in resized_grid._strongest(combs[clear], 401))
    grids = resized_grid._candidates((combs[0], combs[1]), (401, 401))
    found = [grid[1 - clear] for grid in grids if grid[clear] == first]
    assert any(
        axis.period == pytest.approx(6.6, abs=0.01) and axis.start == pytest.approx(1.65, abs=0.01) for axis in found
    )


def test_both_sides_are_named_right_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no axis convinces by itself, and the sides were rounded to other factors."""
    monkeypatch.setattr(resized_grid, "_FREE", math.inf)
    once = saved(make_texture(321, 403), 75)
    for picture, first, second in ((once, 321, 403), (once.transpose(1, 0, 2), 403, 321)):
        grid = find_resized_grid(_resized(picture, round(first * 1.27), round(second * 1.27)))
        assert grid is not None
        assert grid.rows == AxisGrid(round(first * 1.27) * 8 / first, 0)
        assert grid.columns == AxisGrid(round(second * 1.27) * 8 / second, 0)


@pytest.mark.parametrize("factor", [0.875, 0.75])
def test_twice_the_period_is_not_taken_for_it(factor: float) -> None:
    """Every boundary of twice the period is one of the period too: in a larger picture these are clear enough."""
    side = round(640 * factor)
    picture = saved(np.tile(make_texture(), (2, 2, 1))[:640, :640], 75)
    grid = find_resized_grid(_resized(picture, side, side))
    assert grid is not None
    assert grid.rows == grid.columns == AxisGrid(8 * factor, 0)


def test_the_longer_of_two_periods_is_taken_by_its_own_lines() -> None:
    """Half of it has every second of its lines, and may by chance have more evidence."""
    periods = np.linspace(14, 5, 901)
    single, double = (np.exp(-(((periods - period) / 0.01) ** 2)) for period in (6.4, 12.8))
    evidence = 12 * single + 10 * double

    def chosen(odd: float) -> float:
        return float(periods[resized_grid._chosen(evidence, odd * double, periods, 400)])

    assert chosen(5) == pytest.approx(12.8)
    assert chosen(3.5) == pytest.approx(6.4)  # less than a third of the evidence for 6.4
    evidence /= 2
    assert chosen(3.5) == pytest.approx(12.8)
    assert chosen(2.5) == pytest.approx(6.4)  # such as noise has


def test_what_resizing_itself_leaves_is_no_grid() -> None:
    """The pixels repeat every 9, but the blocks every 7.2: the period that explains the other is taken."""
    once = saved(make_texture(400, 400), 75)
    grid = find_resized_grid(_resized(once, 360, 360))
    assert grid is not None
    assert grid.rows == grid.columns == AxisGrid(7.2, 0)


def test_a_large_picture_is_judged_by_its_strips() -> None:
    """Their places do not matter, and the factor is exact over the whole length."""
    once = make_texture()
    large = np.tile(once, (3, 4, 1))[: 8 * 140, : 8 * 180]
    grid = find_resized_grid(_resized(saved(large, 75), 1400, 1800))
    assert grid is not None
    assert grid.rows == grid.columns == AxisGrid(10, 0)


@pytest.mark.parametrize("shape", [(1, 1), (SMALLEST - 1, 300), (300, SMALLEST - 1)])
def test_a_small_picture_has_too_few_blocks(shape: tuple[int, int]) -> None:
    """It is not even looked at."""
    assert find_resized_grid(make_texture()[: shape[0], : shape[1]]) is None


def test_a_picture_too_long_to_be_warped_is_not_looked_at() -> None:
    """OpenCV would refuse it."""
    assert find_resized_grid(np.zeros((SMALLEST, LARGEST + 1, 3), np.uint8)) is None


def test_an_even_picture_shows_nothing() -> None:
    """No line is divided by a power of zero."""
    assert find_resized_grid(np.full((200, 300, 3), 7, np.uint8)) is None
