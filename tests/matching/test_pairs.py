from __future__ import annotations

import numpy as np
import pytest

from nclforensics.matching.keypoints import Keypoints, mirrored
from nclforensics.matching.pairs import COPIES, FARTHEST, RATIO, find_pairs


def _keypoints(*, mirror: bool) -> Keypoints:
    """Return random keypoints of which every third looks like one before it, some twice."""
    rng = np.random.default_rng(3)
    descriptors = rng.integers(0, 90, (60, 128)).astype(np.float32)
    for index in range(30, 60, 3):
        twin = descriptors[index % 20 : index % 20 + 1]
        descriptors[index] = (mirrored(twin) if mirror else twin)[0]
        descriptors[index] += rng.integers(0, 3, 128).astype(np.float32)
    places = rng.uniform(0, 200, (60, 2))
    return Keypoints(places, np.full(60, 5.0), np.zeros(60), descriptors)


@pytest.mark.parametrize("mirror", [False, True])
def test_pairs_are_those_of_the_ratio_test_by_loops(*, mirror: bool) -> None:
    """Every keypoint is compared with every other one that is far enough."""
    keypoints, apart = _keypoints(mirror=mirror), 30.0
    expected = set()
    for one in range(60):
        distances = []
        for other in range(60):
            if np.hypot(*(keypoints.places[one] - keypoints.places[other])) >= apart:
                seen = keypoints.descriptors[other : other + 1]
                seen = mirrored(seen) if mirror else seen
                distances.append((float(np.linalg.norm(keypoints.descriptors[one] - seen[0])), other))
        distances.sort()
        ranks = [r for r in range(COPIES) if distances[r][0] < min(FARTHEST, RATIO * distances[r + 1][0])]
        for rank in range(max(ranks) + 1 if ranks else 0):
            expected |= {(one, distances[rank][1]), (distances[rank][1], one)}
    pairs = find_pairs(keypoints, apart=apart, mirror=mirror)
    index = {tuple(place): number for number, place in enumerate(keypoints.places)}
    found = {(index[tuple(a)], index[tuple(b)]) for a, b in zip(pairs.sources, pairs.targets, strict=True)}
    assert expected == found
    assert len(expected) >= 10


def test_no_keypoints_make_no_pairs() -> None:
    """An empty image is no error."""
    nothing = Keypoints(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128), np.float32))
    assert len(find_pairs(nothing, apart=16, mirror=False)) == 0
