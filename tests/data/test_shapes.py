"""Tests of the shapes of tampered regions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.data.shapes import SHAPE_SHARES, draw_stencil, object_stencil, tight


@pytest.mark.parametrize("shape", list(SHAPE_SHARES))
@pytest.mark.parametrize("area", [400.0, 5000.0])
def test_shape_has_about_the_wanted_area(shape: str, area: float) -> None:
    """On average over draws the area is within 15 % of what was asked for."""
    rng = np.random.default_rng(0)
    areas = [np.count_nonzero(draw_stencil(rng, area=area, limit=10_000, shape=shape)[1]) for _ in range(60)]
    assert np.mean(areas) == pytest.approx(area, rel=0.15)


@pytest.mark.parametrize("shape", list(SHAPE_SHARES))
def test_shape_is_tight_binary_and_within_its_limit(shape: str) -> None:
    """Each edge of the array touches the shape, values are 0 and 255, and no side is longer than the limit."""
    rng = np.random.default_rng(1)
    for _ in range(40):
        name, stencil = draw_stencil(rng, area=3000, limit=50, shape=shape)
        assert name == shape
        assert max(stencil.shape) <= 50
        assert set(np.unique(stencil)) <= {0, 255}
        assert all(edge.any() for edge in (stencil[0], stencil[-1], stencil[:, 0], stencil[:, -1]))


def test_unnamed_shapes_come_in_their_shares() -> None:
    """Without a name, each shape is drawn about as often as SHAPE_SHARES says."""
    rng = np.random.default_rng(2)
    names = [draw_stencil(rng, area=200, limit=99)[0] for _ in range(600)]
    shares = {name: names.count(name) / 600 for name in SHAPE_SHARES}
    assert shares == pytest.approx(SHAPE_SHARES, abs=0.07)


def test_object_before_an_even_background_is_cut_out() -> None:
    """A striped disk on an even ground, no part of which is even: the stencil overlaps it almost entirely."""
    patch = np.full((120, 120, 3), 200, np.uint8)
    disk = np.zeros((120, 120), np.uint8)
    cv2.circle(disk, (60, 60), 35, 255, -1)
    stripes = np.where(np.arange(120) // 8 % 2, 20, 110).astype(np.uint8)
    patch[disk > 0] = np.broadcast_to(stripes[None, :, None], patch.shape)[disk > 0]
    stencil = object_stencil(np.random.default_rng(0), patch)
    assert stencil is not None
    both = np.count_nonzero((stencil > 0) & (disk > 0))
    either = np.count_nonzero((stencil > 0) | (disk > 0))
    assert both / either > 0.85


def test_even_patch_holds_no_object() -> None:
    """Nothing stands out of one colour."""
    assert object_stencil(np.random.default_rng(0), np.full((80, 80, 3), 90, np.uint8)) is None


def test_empty_stencil_becomes_one_pixel() -> None:
    """A shape too small for the grid still marks something."""
    assert tight(np.zeros((9, 9), np.uint8)).tolist() == [[255]]
