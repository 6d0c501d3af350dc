"""The map that most pairs of a group agree on: RANSAC over similarities, then an affine least-squares fit.

Places are complex numbers x + iy: a similarity is z -> a z + b, a mirroring one z -> a conj(z) + b.

Source: Fischler and Bolles, "Random sample consensus", CACM 1981.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]  # (2, 3): columns for x, y and 1, as OpenCV has it

DRAWS: Final = 600
SMALLEST, LARGEST = 0.5, 2.0  # scale
MOST_SHEAR: Final = 1.35  # larger over smaller of the two scales of an affine map
AFFINE_NEEDS: Final = 8  # inliers; fewer fit a similarity only
_SPREAD: Final = 8.0  # pixels: pairs nearer than that say little about scale and turn


@dataclass(frozen=True)
class Consensus:
    """A map and the pairs that agree with it: `affine` takes sources to targets, `inliers` is bool (N,)."""

    affine: Affine
    inliers: NDArray[np.bool_]


def find_consensus(
    sources: NDArray[np.float64], targets: NDArray[np.float64], *, mirrored: bool, tolerance: float, least: int
) -> Consensus | None:
    """Find the map on which most pairs agree.

    Every two pairs define a similarity. All twos are tried if there are at most DRAWS of them, else DRAWS of them,
    drawn with a generator that is seeded with the number of pairs: equal input gives an equal result.

    Args:
        sources: Places (x, y), shape (N, 2).
        targets: Their partners, shape (N, 2).
        mirrored: Whether the map mirrors.
        tolerance: Largest distance in pixels between a target and its source's image.
        least: Fewest distinct sources that must agree.

    Returns:
        The map that was refined on its inliers, or None if too few agree or it scales or shears too much.
    """
    z = sources @ (1, 1j)
    z, w = (z.conj() if mirrored else z), targets @ (1, 1j)
    first, second = _twos(len(z))
    base = z[second] - z[first]
    usable = np.abs(base) >= _SPREAD
    first, second, base = first[usable], second[usable], base[usable]
    a = (w[second] - w[first]) / base
    usable = (np.abs(a) >= SMALLEST) & (np.abs(a) <= LARGEST)
    a, b = a[usable], (w[first] - a * z[first])[usable]
    if not a.size:
        return None
    agree = np.abs(a[:, None] * z + b[:, None] - w) <= tolerance
    return _refined(sources, targets, agree[agree.sum(axis=1).argmax()], tolerance, mirrored=mirrored, least=least)


def _twos(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if count * (count - 1) // 2 <= DRAWS:
        first, second = np.triu_indices(count, 1)
        return first, second
    rng = np.random.default_rng(count)
    first = rng.integers(0, count, DRAWS)
    return first, (first + rng.integers(1, count, DRAWS)) % count


def _refined(
    sources: NDArray[np.float64],
    targets: NDArray[np.float64],
    inliers: NDArray[np.bool_],
    tolerance: float,
    *,
    mirrored: bool,
    least: int,
) -> Consensus | None:
    affine = None
    for _ in range(3):
        if distinct(sources[inliers]) < least or distinct(targets[inliers]) < least:
            return None
        affine = fit(sources[inliers], targets[inliers], mirrored=mirrored)
        inliers = np.hypot(*(apply(affine, sources) - targets).T) <= tolerance
    if affine is None or not is_sane(affine) or distinct(sources[inliers]) < least:
        return None
    return Consensus(affine, inliers)


def fit(sources: NDArray[np.float64], targets: NDArray[np.float64], *, mirrored: bool) -> Affine:
    """Fit a map by least squares: affine if many and well-spread pairs define it, else a similarity."""
    middle = sources.mean(axis=0)
    centred = sources - middle
    spread = np.linalg.svd(centred, compute_uv=False)
    if distinct(sources) >= AFFINE_NEEDS and spread[-1] > 0.2 * spread[0]:
        design = np.column_stack([centred, np.ones(len(centred))])
        affine = np.linalg.lstsq(design, targets, rcond=None)[0].T
    else:
        z = centred @ (1, 1j)
        z, w = (z.conj() if mirrored else z), targets @ (1, 1j)
        a = np.vdot(z, w - w.mean()) / max(np.vdot(z, z).real, 1e-9)
        flip = -1 if mirrored else 1
        affine = np.array([[a.real, -a.imag * flip, w.mean().real], [a.imag, a.real * flip, w.mean().imag]])
    affine[:, 2] -= affine[:, :2] @ middle
    return np.asarray(affine, np.float64)


def apply(affine: Affine, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the images of places (N, 2)."""
    return places @ affine[:, :2].T + affine[:, 2]


def inverted(affine: Affine) -> Affine:
    """Return the map back."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.column_stack([inverse, -inverse @ affine[:, 2]])


def is_sane(affine: Affine) -> bool:
    """Tell whether a map keeps sizes and shapes within what forgers do."""
    scales = np.linalg.svd(affine[:, :2], compute_uv=False)
    return bool(scales[1] >= SMALLEST * 0.95 and scales[0] <= LARGEST * 1.05 and scales[0] <= MOST_SHEAR * scales[1])


def distinct(places: NDArray[np.float64]) -> int:
    """Return how many different places there are, to the pixel: one keypoint may have several orientations."""
    return len(np.unique(np.rint(places), axis=0))
