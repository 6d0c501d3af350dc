from __future__ import annotations

import cv2
import numpy as np

from nclforensics.matching.consensus import apply
from nclforensics.matching.planes import Planes, is_shift, seen_through
from nclforensics.matching.refinement import refined
from tests.textures import make_texture


def test_map_that_is_a_pixel_off_is_corrected() -> None:
    """What remains is a small fraction of a pixel, everywhere in the region."""
    image = make_texture(256, 256)
    true = np.array([[1.1, 0.08, 88.0], [-0.08, 1.1, 110.0]])
    source = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.uint8)
    inside = np.zeros((256, 256), np.uint8)
    inside[40:110, 40:110] = 255
    moved = cv2.warpAffine(source, true, (256, 256), flags=cv2.INTER_CUBIC)
    there = cv2.warpAffine(inside, true, (256, 256)) > 127
    forged = np.where(there[..., None], moved, source).astype(np.uint8)
    start = true + np.array([[0.004, 0, 0.3], [0, -0.004, 0.6]])
    box = (48, 48, 100, 100)
    found = refined(Planes.of(forged).luma, start, box, np.ones((52, 52), np.uint8))
    corners = np.array([[48.0, 48.0], [100.0, 100.0], [48.0, 100.0]])
    before = np.abs(apply(start, corners) - apply(true, corners)).max()
    after = np.abs(apply(found, corners) - apply(true, corners)).max()
    assert before > 0.5
    assert after < 0.1


def test_flat_region_changes_nothing() -> None:
    """Without contrast there is nothing to go by."""
    start = np.array([[1, 0, 20.0], [0, 1, 3.5]])
    found = refined(np.zeros((80, 80), np.float32), start, (10, 10, 40, 40), np.ones((30, 30), np.uint8))
    np.testing.assert_array_equal(found, start)


def test_whole_displacements_copy_values() -> None:
    """No value is interpolated, and outside of the image there is none."""
    plane = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    shift = np.array([[1.0, 0, 7], [0, 1, -3]])
    seen = seen_through(plane, shift, (10, 5, 50, 30))
    assert is_shift(shift)
    np.testing.assert_array_equal(seen[:, :33], plane[2:27, 17:50])
    assert np.isnan(seen[:, 33:]).all()
