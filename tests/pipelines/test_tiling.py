"""Spans and areas: cores cover once, extents reach as far as they should and no farther."""

from __future__ import annotations

import numpy as np
import pytest

from nclforensics.pipelines.tiling import Span, cut_area, widened

AREA = (Span.whole(301), Span.whole(200))


@pytest.mark.parametrize(("side", "halo"), [(64, 32), (100, 0), (1000, 8)])
def test_cores_cover_an_area_once(side: int, halo: int) -> None:
    """Each pixel lies in one core; an extent is its core and the halo, clipped where the area ends."""
    covered = np.zeros((301, 200), np.int64)
    for rows, columns in cut_area(AREA, side, halo):
        covered[rows.core_start : rows.core_stop, columns.core_start : columns.core_stop] += 1
        for span, length in ((rows, 301), (columns, 200)):
            assert span.start == max(span.core_start - halo, 0)
            assert span.stop == min(span.core_stop + halo, length)
    assert (covered == 1).all()


def test_parts_of_a_tile_stay_in_its_extent() -> None:
    """A tile's core is cut, and the halo of a part may use the tile's halo but nothing beyond it."""
    tile = Span(core_start=128, core_stop=250, start=64, stop=301)
    parts = tile.cut(64, 96)
    assert [(part.core_start, part.core_stop) for part in parts] == [(128, 192), (192, 250)]
    assert [(part.start, part.stop) for part in parts] == [(64, 288), (96, 301)]
    assert parts[1].core_in_extent == slice(96, 154)
    assert [(part.start, part.stop) for part in tile.core.cut(64, 96)] == [(128, 250), (128, 250)]


def test_cells_count_from_the_origin_and_take_the_last_patch_whole() -> None:
    """On a map of patches of 8 pixels, and on one with two cells a patch."""
    span = Span(core_start=64, core_stop=100, start=64, stop=101)
    assert span.cells(32, 8) == slice(4, 9)
    assert span.cells(32, 8, scale=2) == slice(8, 18)


def test_a_widened_area_ends_with_the_image() -> None:
    """The margin is added on both sides, clipped at the image's borders; the core stays."""
    square = (Span(core_start=96, core_stop=160, start=64, stop=192), Span.whole(200))
    rows, columns = widened(square, 24, (205, 200, 3))
    assert (rows.start, rows.stop, rows.core_start, rows.core_stop) == (40, 205, 96, 160)
    assert (columns.start, columns.stop) == (0, 200)
