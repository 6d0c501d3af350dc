"""Where an image agrees with itself under a map, and how far that speaks for a copy.

Repeated things agree in their edges; a copy agrees in its finest detail too, up to what compression left of it. So the
detail is compared: its correlation in small windows says where, five figures of the whole region say how surely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.matching.planes import cut, seen_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine
    from nclforensics.matching.planes import Box, Plane

WINDOW: Final = 11
FLAT: Final = 0.15  # variance of detail, grey levels squared, below which a window says little
TEXTURED: Final = 1.0  # the same, above which a window of a copy should agree
ALIKE: Final = 0.5  # correlation of a window
SMALLEST: Final = 200  # pixels of a region

# Weights of the evidence: a logistic regression on 100 forgeries and 200 photos, docs/copy_move.md.
CORRELATION, UNEXPLAINED, FILLED, AREA, MATCHES, OFFSET = 4.0, -0.65, 3.7, -0.75, 1.4, -5.1
_CERTAIN: Final = 0.995
_QUIET: Final = 0.3  # grey levels squared: rounding to whole levels leaves as much unexplained


@dataclass(frozen=True)
class Agreement:
    """How a box agrees with its image: all but `moved` float32 of the box's shape.

    Attributes:
        here: The detail in the box.
        there: The detail at its images; 0 where those lie outside of the image or too near.
        strength: Mean square of `here` in windows.
        correlation: Of windows, in [-1, 1]; near 0 where both are flat.
        region: Where windows agree, uint8, 0 or 1.
    """

    here: Plane
    there: Plane
    strength: Plane
    correlation: Plane
    region: NDArray[np.uint8]

    @property
    def area(self) -> int:
        """Return the number of pixels of the region."""
        return int(self.region.sum())

    @property
    def total(self) -> float:
        """Return the sum of the correlation over the region: of two maps, the better one has the higher sum."""
        return float(np.maximum(self.correlation, 0)[self.region > 0].sum(dtype=np.float64))


def agreement(detail: Plane, affine: Affine, box: Box, *, apart: float) -> Agreement:
    """Compare a box of a high-pass image with its image under a map.

    Pixels that the map moves by less than `apart` pixels do not count.
    """
    here, there = cut(detail, box), seen_through(detail, affine, box)
    there = np.where(np.isnan(there) | ~_moved(affine, box, apart), np.float32(0), there)
    both, ours, theirs = (
        np.asarray(cv2.boxFilter(product, -1, (WINDOW, WINDOW)), np.float32)
        for product in (here * there, here * here, there * there)
    )
    correlation = np.asarray(both / np.sqrt((ours + FLAT) * (theirs + FLAT)), np.float32)
    return Agreement(here, there, ours, correlation, _alike(correlation))


def _moved(affine: Affine, box: Box, apart: float) -> NDArray[np.bool_]:
    left, top, right, bottom = box
    x, y = np.arange(left, right), np.arange(top, bottom)[:, None]
    across = (affine[0, 0] - 1) * x + affine[0, 1] * y + affine[0, 2]
    down = affine[1, 0] * x + (affine[1, 1] - 1) * y + affine[1, 2]
    return np.asarray(np.square(across) + np.square(down) >= apart**2)


def _alike(correlation: Plane) -> NDArray[np.uint8]:
    """Return where windows agree: gaps closed, thin parts and small areas removed."""
    core = np.asarray(correlation > ALIKE, np.uint8)
    core = np.asarray(cv2.morphologyEx(core, cv2.MORPH_CLOSE, _disc(9)), np.uint8)
    core = np.asarray(cv2.morphologyEx(core, cv2.MORPH_OPEN, _disc(7)), np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=8, ltype=cv2.CV_32S)
    kept = stats[:, cv2.CC_STAT_AREA] >= SMALLEST
    kept[0] = False
    return np.asarray(kept[labels], np.uint8)


def _disc(side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def pooled_correlation(found: Agreement) -> float:
    """Return the correlation of the detail over the whole region, in [-1, 1]; 0 where there is no detail."""
    inside = found.region > 0
    here, there = found.here[inside].astype(np.float64), found.there[inside].astype(np.float64)
    strength = np.sqrt(np.square(here).sum() * np.square(there).sum())
    return float((here * there).sum() / strength) if strength > 0 else 0.0


def evidence(found: Agreement, *, matches: int) -> float:
    """Return how far an agreement speaks for a copy and against a repetition: a logit, 0 at the working threshold.

    It grows with the correlation over the region, the share of the textured windows in the region's hull that agree,
    and the keypoint pairs in relation to the area; it falls with the variance that the correlation leaves unexplained,
    which compression bounds for a copy, whereas for repeated things it grows with their contrast.

    Args:
        found: The agreement.
        matches: Keypoint pairs that agree with the map.
    """
    inside = found.region > 0
    if not inside.any():
        return -np.inf
    rho = min(pooled_correlation(found), _CERTAIN)
    unexplained = float(np.median(found.strength[inside])) * (1 - rho**2)
    return float(
        CORRELATION * np.arctanh(rho)
        + UNEXPLAINED * np.log(unexplained + _QUIET)
        + FILLED * _filled_share(found)
        + AREA * np.log(found.area)
        + MATCHES * np.log(matches + 1)
        + OFFSET
    )


def _filled_share(found: Agreement) -> float:
    """Return which share of the textured windows in the convex hull of the region belongs to the region."""
    places = np.argwhere(found.region)[:, ::-1].astype(np.int32)
    hull = np.zeros_like(found.region)
    cv2.fillConvexPoly(hull, cv2.convexHull(places), 1)
    textured = (hull > 0) & (found.strength > TEXTURED)
    return float(np.count_nonzero(textured & (found.region > 0)) / max(1, int(np.count_nonzero(textured))))
