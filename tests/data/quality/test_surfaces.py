from __future__ import annotations

import numpy as np
import pytest

from nclforensics.data.quality.surfaces import (
    BLOWN_OUT,
    flat_share,
    grey_of,
    highlights_marked,
    ruled_share,
    textureless_share,
)
from tests.textures import make_texture


def test_texture_is_neither_flat_nor_ruled() -> None:
    """A picture full of detail has no surface of one colour."""
    planes = [grey_of(make_texture())]
    assert ruled_share(planes) == 0
    assert flat_share(planes) < 0.01
    assert textureless_share(planes) < 0.1


def test_flat_share_counts_blocks() -> None:
    """A quarter of the picture is one colour."""
    plane = grey_of(make_texture())
    plane[:192, :192] = 200
    assert flat_share([plane]) == pytest.approx(0.25, abs=0.01)


def test_frame_is_ruled_on_every_side() -> None:
    """A picture on a page: the lines along its four sides count, each pixel once."""
    plane = np.full((256, 256), 255, np.uint8)
    plane[64:192, 64:192] = 100
    assert ruled_share([plane]) * plane.size == pytest.approx(4 * 127, abs=8)


def test_photo_on_a_page_is_ruled_on_every_side() -> None:
    """One side of an edge is enough: the page's."""
    plane = np.full((256, 256), 255, np.uint8)
    plane[64:192, 64:192] = np.minimum(grey_of(make_texture(128, 128)), 200)
    for turns in range(4):
        assert ruled_share([np.rot90(plane[:160], turns)]) * plane.size * 160 / 256 == pytest.approx(
            127 + 2 * 95, abs=8
        )


def test_short_and_faint_edges_do_not_count() -> None:
    """Below 64 pixels, or 6 grey levels, an edge may be part of a photo."""
    plane = np.full((256, 256), 255, np.uint8)
    plane[100:160, 100:160] = 100
    assert ruled_share([plane]) == 0
    plane = np.full((256, 256), 255, np.uint8)
    plane[64:192] = 250
    assert ruled_share([plane]) == 0


def test_slope_is_textured_and_sky_is_not() -> None:
    """One grey level of deviation is the limit."""
    slope = np.repeat(np.arange(256, dtype=np.uint8)[None], 256, axis=0)
    assert textureless_share([slope]) == 0
    assert textureless_share([np.full((256, 256), 230, np.uint8)]) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (15, 15)])
def test_tiny_planes_have_no_share(shape: tuple[int, int]) -> None:
    """Without a whole block nothing is said."""
    plane = np.zeros(shape, np.uint8)
    assert (textureless_share([plane]), flat_share([plane]), ruled_share([plane])) == (0, 0, 0)


def test_highlights_are_pixels_with_a_clipped_colour() -> None:
    """One colour is enough, and what is below the limit is none; the picture is longer than a strip."""
    pixels = np.full((700, 40, 3), BLOWN_OUT - 1, np.uint8)
    marked = np.zeros((700, 40), np.bool_)
    assert highlights_marked(pixels, marked) == (0, 0, 0)
    pixels[100:300, :20, 1] = BLOWN_OUT
    assert highlights_marked(pixels, marked) == (200 * 20 / marked.size, 0, 0)
    marked[150:300, :40] = True
    assert highlights_marked(pixels, marked) == (200 * 20 / marked.size, 150 / 200, 0.5)
    marked[600:] = True
    assert highlights_marked(pixels, marked)[2] == 150 * 20 / (250 * 40)
