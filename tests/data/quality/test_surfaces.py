from __future__ import annotations

import numpy as np
import pytest

from nclforensics.data.quality.surfaces import (
    BRIGHTEST,
    flat_share,
    grey_of,
    highlights,
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


def test_highlights_are_cells_with_clipped_colours() -> None:
    """One colour is enough, in three tenths of a cell; cells at the border are filled up with its pixels."""
    pixels = np.full((600, 43, 3), BRIGHTEST - 1, np.uint8)
    assert not highlights(pixels, 8).any()
    pixels[256:264, 0:2, 1] = BRIGHTEST  # a quarter of a cell
    pixels[256:264, 8:11, 2] = BRIGHTEST  # three eighths
    pixels[590:, 41:] = 255  # of the last cell the last two of three columns, repeated
    found = highlights(pixels, 8)
    assert found.shape == (75, 6)
    assert list(zip(*np.nonzero(found), strict=True)) == [(32, 1), (74, 5)]
    assert highlights(pixels[:592], 16).shape == (37, 3)
