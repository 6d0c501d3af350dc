"""Tests of views: what part of a photo is seen."""

from __future__ import annotations

import numpy as np
import pytest

from nclforensics.data.views import cut_view, draw_view
from tests.photo_folders import make_photo


def test_view_at_scale_one_is_a_crop_on_the_grid() -> None:
    """Pixels are the photo's own, from a corner at multiples of the grid."""
    photo = make_photo(100, 140)
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = draw_view(rng, photo=photo.shape, size=(48, 64), grid=16)
        assert view is not None
        top, left = view["corner"]
        assert (top % 16, left % 16) == (0, 0)
        assert np.array_equal(cut_view(photo, view, (48, 64)), photo[top : top + 48, left : left + 64])


@pytest.mark.parametrize("turn", [False, True], ids=["upright", "turned"])
def test_view_never_leaves_the_photo(turn: bool) -> None:  # noqa: FBT001 - parametrized
    """A white photo gives white views: no border is invented, at any scale or angle."""
    photo = np.full((90, 120, 3), 255, np.uint8)
    ring = photo.copy()
    rng = np.random.default_rng(1)
    for _ in range(60):
        view = draw_view(rng, photo=photo.shape, size=(40, 50), scales=(0.5, 2.0), turn=turn)
        assert view is not None
        framed = np.zeros((290, 320, 3), np.uint8)
        framed[100:190, 100:220] = ring
        moved = {**view, "corner": [view["corner"][0] + 100, view["corner"][1] + 100]}
        assert cut_view(framed, moved, (40, 50)).min() == 255


def test_small_photo_is_enlarged_and_a_tiny_one_refused() -> None:
    """A photo half the view's size is enlarged twice; one a tenth of it gives no view."""
    rng = np.random.default_rng(0)
    view = draw_view(rng, photo=(32, 64), size=(64, 64))
    assert view is not None
    assert view["scale"] == 2
    assert draw_view(rng, photo=(6, 64), size=(64, 64)) is None


def test_view_at_half_scale_shows_twice_as_much() -> None:
    """A ramp seen at scale 0.5 spans twice the range of the crop."""
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2)
    view = {"op": "view", "corner": [0, 20], "scale": 0.5, "angle": 0.0, "resampling": "area"}
    seen = cut_view(ramp, view, (40, 40))
    assert (int(seen[0, 0, 0]), int(seen[0, -1, 0])) == (21, 99)  # means of 20 and 21, 98 and 99
