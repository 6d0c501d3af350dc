"""Where the grid of JPEG blocks starts: found after a crop, and believed only where strips agree on it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.data.quality.block_grid import find_grid
from tests.textures import make_texture, saved


@pytest.mark.parametrize("corner", [(0, 0), (3, 5), (7, 0), (0, 1)])
def test_the_grid_of_a_cropped_jpeg_is_found(corner: tuple[int, int]) -> None:
    """From its pixels alone, also after it was saved once more at a high quality."""
    down, right = (-start % 8 for start in corner)
    cropped = saved(make_texture(), 75)[down:, right:]
    assert find_grid(cropped) == corner
    assert find_grid(saved(cropped, 98)) == corner


def test_the_coarser_of_two_grids_wins() -> None:
    """What a strong last saving leaves starts at the corner, whatever was there before."""
    assert find_grid(saved(saved(make_texture(), 90)[3:, 5:], 60)) == (0, 0)


def test_a_large_image_is_judged_by_its_windows() -> None:
    """They start on the grid of its corner."""
    once = make_texture()
    large = np.tile(once, (1 + 1500 // once.shape[0], 1 + 1200 // once.shape[1], 1))[:1500, :1200]
    assert find_grid(saved(large, 75)[3:, 5:]) == (5, 3)


def test_a_picture_without_a_grid_starts_at_its_corner() -> None:
    """Strips of pixels that were never in blocks do not agree; neither axis may be guessed."""
    assert find_grid(make_texture()) == (0, 0)
    cropped = saved(make_texture(), 75)[3:, 5:]
    height, width = cropped.shape[:2]
    stretched = cv2.resize(cropped, (width, height * 13 // 10), interpolation=cv2.INTER_CUBIC)
    assert find_grid(np.asarray(stretched, np.uint8)) == (0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (17, 9), (64, 64)])
def test_few_strips_convince_nobody(shape: tuple[int, int]) -> None:
    """Three strips may agree by chance."""
    cropped = saved(make_texture(), 75)[3:, 5:][: shape[0], : shape[1]]
    assert find_grid(cropped) == (0, 0)


def test_strips_of_one_colour_do_not_vote() -> None:
    """A page, or a picture between margins, was not cropped for its white."""
    assert find_grid(np.full((300, 400, 3), 255, np.uint8)) == (0, 0)
    picture = saved(make_texture(), 75)
    for corner in ((0, 0), (3, 5)):
        down, right = (-start % 8 for start in corner)
        for margins in (((400, 400), (0, 0), (0, 0)), ((0, 0), (400, 400), (0, 0))):
            assert find_grid(np.pad(picture[down:, right:], margins, constant_values=255)) == corner
