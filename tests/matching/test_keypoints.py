from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.matching.keypoints import CELLS, find_keypoints, mirrored
from tests.textures import make_texture

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _grey(size: int = 256) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(make_texture(size, size), cv2.COLOR_RGB2GRAY), np.uint8)


def test_mirrored_descriptors_are_those_of_the_mirror_image() -> None:
    """Permuting a descriptor gives what SIFT computes on the mirrored image, up to interpolation."""
    grey = _grey()
    flipped = np.ascontiguousarray(grey[:, ::-1])
    keypoints = list(cv2.SIFT.create().detect(grey, None))
    twins = [
        cv2.KeyPoint(255 - k.pt[0], k.pt[1], k.size, (180 - k.angle) % 360, k.response, k.octave) for k in keypoints
    ]
    ours = np.asarray(cv2.SIFT.create().compute(grey, keypoints)[1], np.float32)
    theirs = np.asarray(cv2.SIFT.create().compute(flipped, twins)[1], np.float32)
    distance = np.linalg.norm(mirrored(ours) - theirs, axis=1)
    assert np.median(distance) < 60
    assert np.median(np.linalg.norm(ours - theirs, axis=1)) > 300
    np.testing.assert_array_equal(mirrored(mirrored(ours)), ours)


def test_every_cell_gives_its_strongest_first() -> None:
    """A smooth part beside a rough one has keypoints among the first ones, too."""
    grey = _grey()
    grey[:, 128:] = grey[:, 128:] // 6 + 100
    keypoints = find_keypoints(grey)
    first = keypoints.places[: CELLS * CELLS // 2]
    assert np.count_nonzero(first[:, 0] > 128) > len(first) / 4


def test_flat_image_has_none() -> None:
    """Nothing to see is no error."""
    assert len(find_keypoints(np.full((64, 64), 90, np.uint8))) == 0
