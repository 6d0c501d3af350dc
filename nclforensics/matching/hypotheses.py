"""Maps by which a part of the image may have been copied, from keypoints that look alike and from repeated detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.matching.consensus import distinct, find_consensus
from nclforensics.matching.groups import group_pairs
from nclforensics.matching.keypoints import find_keypoints
from nclforensics.matching.pairs import find_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine
    from nclforensics.matching.pairs import Pairs

LEAST: Final = 3  # pairs that agree: two define a similarity, so the third confirms it
TOLERANCE: Final = 3.0  # pixels
IN_A_GROUP: Final = 3  # maps looked for among the pairs of one group


@dataclass(frozen=True)
class Hypothesis:
    """A map, the pairs that suggest it, and how many they are.

    Attributes:
        affine: Takes the sources to the targets.
        sources: Places (x, y), float64 (N, 2).
        targets: Their partners, float64 (N, 2).
        matches: Number of distinct sources.
    """

    affine: Affine
    sources: NDArray[np.float64]
    targets: NDArray[np.float64]
    matches: int


def find_hypotheses(grey: NDArray[np.uint8], *, apart: float, reach: float) -> list[Hypothesis]:
    """Return maps on which at least LEAST pairs of keypoints agree, those with most pairs first.

    Args:
        grey: Image, uint8 (H, W).
        apart: Smallest distance in pixels between a place and its copy.
        reach: Largest distance in pixels between neighbouring pairs of one copy.
    """
    keypoints = find_keypoints(grey)
    found: list[Hypothesis] = []
    for mirror in (False, True):
        pairs = find_pairs(keypoints, apart=apart, mirror=mirror)
        explained: set[tuple[float, ...]] = set()
        for group in group_pairs(pairs, reach=reach, least=LEAST):
            found += _maps_of_group(pairs, group, explained)
    return sorted(found, key=lambda hypothesis: -hypothesis.matches)


def _maps_of_group(pairs: Pairs, group: NDArray[np.int64], explained: set[tuple[float, ...]]) -> list[Hypothesis]:
    """Return the maps of a group, one after the other; each pair comes in both directions, of which one is used."""
    found: list[Hypothesis] = []
    backward = np.column_stack([pairs.targets, pairs.sources])
    rest = np.array([index for index in group if tuple(backward[index]) not in explained], np.int64)
    while len(rest) >= LEAST and len(found) < IN_A_GROUP:
        sources, targets = pairs.sources[rest], pairs.targets[rest]
        consensus = find_consensus(sources, targets, mirrored=pairs.mirrored, tolerance=TOLERANCE, least=LEAST)
        if consensus is None:
            break
        inliers = consensus.inliers
        sources, targets = sources[inliers], targets[inliers]
        explained.update(map(tuple, np.column_stack([sources, targets]).tolist()))
        found.append(Hypothesis(consensus.affine, sources, targets, distinct(sources)))
        rest = rest[~inliers]
    return found
