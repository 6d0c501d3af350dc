from __future__ import annotations

import numpy as np
import pytest

from nclforensics.data.quality.block_grid import grid_corner
from nclforensics.data.quality.earlier_jpeg import GAIN_LIMIT, earlier_jpeg
from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.sampling import luma_of
from tests.textures import make_texture, saved


@pytest.mark.parametrize("last", [70, 85, 95])
def test_saved_once_shows_no_earlier_saving(last: int) -> None:
    """A picture's first JPEG is explained by that saving alone."""
    planes = [luma_of(saved(make_texture(), last))]
    assert earlier_jpeg(planes, steps=ijg_tables()[last - 1])[0] < GAIN_LIMIT


@pytest.mark.parametrize(("earlier", "last"), [(50, 70), (60, 90), (75, 95)])
def test_saved_twice_shows_the_earlier_quality(earlier: int, last: int) -> None:
    """The first saving was the coarser one: its quality is found to within two steps of the scale."""
    planes = [luma_of(saved(saved(make_texture(), earlier), last))]
    gain, quality = earlier_jpeg(planes, steps=ijg_tables()[last - 1])
    assert gain > GAIN_LIMIT
    assert abs(quality - earlier) <= 2


@pytest.mark.parametrize("corner", [(0, 0), (3, 5), (7, 1)])
def test_lossless_file_of_a_jpeg_shows_grid_and_quality(corner: tuple[int, int]) -> None:
    """Also after a cut off the grid: where the grid then starts is found first."""
    down, right = (8 - corner[0]) % 8, (8 - corner[1]) % 8
    planes = [luma_of(saved(make_texture(), 75)[down:, right:])]
    assert grid_corner(planes) == corner
    gain, quality = earlier_jpeg(planes, corner=corner)
    assert gain > GAIN_LIMIT
    assert abs(quality - 75) <= 2


def test_lossless_file_never_compressed_shows_nothing() -> None:
    """Whatever grid is most likely, no saving explains the pixels better."""
    planes = [luma_of(make_texture())]
    assert earlier_jpeg(planes, corner=grid_corner(planes))[0] < GAIN_LIMIT


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (15, 17), (40, 40)])
def test_too_few_blocks_say_nothing(shape: tuple[int, int]) -> None:
    """Below 64 blocks the gain is 0."""
    planes = [np.full(shape, 100, np.float32)]
    assert earlier_jpeg(planes, corner=grid_corner(planes))[0] == 0


def test_clipped_pictures_say_nothing() -> None:
    """Black and white pixels lost what the pattern would be read from."""
    levels = luma_of(saved(make_texture(), 50))
    assert earlier_jpeg([levels])[0] > GAIN_LIMIT
    levels[::4, ::4] = 255
    assert earlier_jpeg([levels])[0] == 0


@pytest.mark.parametrize("step", [1, 63, 64, 65, 255, 65535])
def test_any_steps_give_a_finite_gain(step: int) -> None:
    """Hostile tables too: what they leave of the coefficients is compared, however little."""
    gain, _ = earlier_jpeg([luma_of(make_texture())], steps=np.full((8, 8), step, np.int64))
    assert np.isfinite(gain)
