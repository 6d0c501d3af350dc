"""Checks one hypothesis pixel by pixel: the map is refined, the region that agrees is found and weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.matching.agreement import SMALLEST, Agreement, agreement, evidence, pooled_correlation
from nclforensics.matching.consensus import apply, inverted
from nclforensics.matching.planes import is_shift
from nclforensics.matching.refinement import refined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine
    from nclforensics.matching.hypotheses import Hypothesis
    from nclforensics.matching.planes import Box, Planes

MARGIN: Final = 0.8  # of the extent of the pairs: so far the region may reach beyond them
LEAST_MARGIN: Final = 48  # pixels
NEARLY: Final = 0.75  # pixels: a map that is so near to a displacement by whole pixels is tried as one
WHOLE: Final = 1.01
_AROUND_A_PAIR: Final = 12  # pixels, where a map is refined if nothing agrees yet


@dataclass(frozen=True)
class Verified:
    """A hypothesis after the check.

    Attributes:
        affine: Takes the pixels of `region` to their copies; it enlarges, or keeps sizes.
        box: Where the region lies.
        region: uint8 (0 or 1) of the box's shape.
        correlation: Of the detail over the region, in [-1, 1].
        evidence: Logit, 0 at the working threshold.
        matches: Distinct keypoints that agree with the map.
    """

    affine: Affine
    box: Box
    region: NDArray[np.uint8]
    correlation: float
    evidence: float
    matches: int


def verified(planes: Planes, hypothesis: Hypothesis, *, apart: float) -> Verified | None:
    """Check a hypothesis; None if nothing agrees.

    The smaller of the two places is the one that is compared with the other: enlarging invents no detail.
    """
    affine, sources, targets = hypothesis.affine, hypothesis.sources, hypothesis.targets
    if abs(np.linalg.det(affine[:, :2])) < 1:
        affine, sources, targets = inverted(affine), targets, sources
    box = _box_around(sources, planes.luma.shape)
    maps = [affine]
    rounded = _whole_displacement(affine, sources)
    if rounded is not None:
        maps.append(rounded)
    found = {index: agreement(planes.detail, each, box, apart=apart) for index, each in enumerate(maps)}
    start = max(found.values(), key=lambda each: each.total)
    region = start.region if start.area > SMALLEST else _around(sources, box)
    maps.append(refined(planes.luma, affine, box, region))
    rounded = _whole_displacement(maps[-1], sources)
    if rounded is not None:
        maps.append(rounded)
    agreements = [*found.values(), *(agreement(planes.detail, each, box, apart=apart) for each in maps[len(found) :])]
    # Of two maps that agree alike, the displacement by whole pixels is the likelier one: most copies are just moved.
    totals = [each.total * (WHOLE if is_shift(affine) else 1) for affine, each in zip(maps, agreements, strict=True)]
    best = int(np.argmax(totals))
    return _weighed(maps[best], box, agreements[best], hypothesis.matches)


def _weighed(affine: Affine, box: Box, found: Agreement, matches: int) -> Verified | None:
    if not found.area:
        return None
    return Verified(affine, box, found.region, pooled_correlation(found), evidence(found, matches=matches), matches)


def _box_around(places: NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    lowest, highest = places.min(axis=0), places.max(axis=0)
    margin = np.maximum(LEAST_MARGIN, MARGIN * (highest - lowest))
    left, top = np.maximum(0, np.floor(lowest - margin)).astype(int).tolist()
    right, bottom = np.minimum((shape[1], shape[0]), np.ceil(highest + margin) + 1).astype(int).tolist()
    return left, top, right, bottom


def _whole_displacement(affine: Affine, places: NDArray[np.float64]) -> Affine | None:
    """Return the displacement by whole pixels that a map nearly is."""
    moves = apply(affine, places) - places
    whole = np.rint(moves.mean(axis=0))
    if np.abs(moves - whole).max() > NEARLY:
        return None
    return np.column_stack([np.eye(2), whole])


def _around(places: NDArray[np.float64], box: Box) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    region = np.zeros((bottom - top, right - left), np.uint8)
    for x, y in np.rint(places - (left, top)).astype(int).tolist():
        cv2.circle(region, (x, y), _AROUND_A_PAIR, 1, cv2.FILLED)
    return region
