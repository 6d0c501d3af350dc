"""Tests of removals."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from nclforensics.data.canvas import Canvas
from nclforensics.data.removal import METHOD_SHARES, _inpainted, removal
from tests.photo_folders import make_photo


def removals(count: int) -> list[tuple[Canvas, dict[str, object]]]:
    """Remove a region of a photo, each with another seed."""
    made = []
    for seed in range(count):
        canvas = Canvas(make_photo(128, 128), np.zeros((128, 128), np.bool_))
        made.append((canvas, removal(canvas, np.random.default_rng(seed), area=700)))
    return made


def test_every_method_occurs() -> None:
    """Forty removals show all methods, the usual ones more often."""
    methods = [record["method"] for _, record in removals(60)]
    assert set(methods) == set(METHOD_SHARES)
    assert methods.count("nearby") > methods.count("blur")


def test_filling_continues_the_surroundings() -> None:
    """On a ramp, inpainting gives back nearly what was removed."""
    ramp = np.repeat(np.arange(40, 168, dtype=np.uint8)[:, None, None], 128, 1).repeat(3, 2)
    seen = 0
    for seed in range(40):
        canvas = Canvas(ramp.copy(), np.zeros((128, 128), np.bool_))
        record = removal(canvas, np.random.default_rng(seed), area=700)
        if record["method"] in ("telea", "navier-stokes") and not record["steps"]:
            seen += 1
            assert np.abs(canvas.image.astype(int) - ramp)[canvas.mask].mean() < 6
    assert seen > 5


@pytest.mark.parametrize("method", ["telea", "navier-stokes"])
@pytest.mark.parametrize("radius", [15, 60], ids=["small", "large, at reduced size"])
def test_object_leaves_no_trace_in_what_is_filled_in(method: str, radius: int) -> None:
    """A white disk on grey is gone inside the region, also where the region is inpainted at reduced size."""
    stencil = np.zeros((160, 160), np.uint8)
    cv2.circle(stencil, (80, 80), radius, 255, -1)
    patch = np.full((160, 160, 3), 100, np.uint8)
    patch[stencil > 0] = 255
    filled = _inpainted(patch, stencil, method)
    assert np.abs(filled[stencil > 0].astype(int) - 100).max() < 30


def test_copied_place_is_recorded() -> None:
    """A removal by a patch from nearby says where it came from."""
    for _, record in removals(30):
        assert ("source" in record) == (record["method"] == "nearby")


def test_region_without_a_place_beside_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied onto itself it would be marked without a change."""
    monkeypatch.setattr("nclforensics.data.removal.apart", lambda *_: False)
    unplaced = [canvas for canvas, record in removals(20) if record["method"] == "nearby" and record["source"] is None]
    assert unplaced
    for canvas in unplaced:
        assert not canvas.mask.any()
        assert np.array_equal(canvas.image, make_photo(128, 128))


def test_same_seed_same_removal() -> None:
    """Two removals with one seed are equal, two with different seeds are not."""
    once, again = removals(3), removals(3)
    assert all(np.array_equal(a.image, b.image) for (a, _), (b, _) in zip(once, again, strict=True))
    assert all(not np.array_equal(a.image, b.image) for (a, _), (b, _) in pairwise(once))
