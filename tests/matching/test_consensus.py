from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nclforensics.matching.consensus import LARGEST, SMALLEST, apply, find_consensus, fit, inverted, is_sane

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = st.integers(0, 10_000)


def _similarity(scale: float, angle: float, *, mirror: bool, shift: tuple[float, float]) -> NDArray[np.float64]:
    flip = -1 if mirror else 1
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine * flip, shift[0]], [sine, cosine * flip, shift[1]]])


def _most_by_loops(
    sources: NDArray[np.float64], targets: NDArray[np.float64], tolerance: float, *, mirror: bool
) -> int:
    """Return how many pairs agree with the best similarity through two of them."""
    best = 0
    for i in range(len(sources)):
        for j in range(i + 1, len(sources)):
            (x, y), (u, v) = sources[j] - sources[i], targets[j] - targets[i]
            length = math.hypot(x, y)
            scale = math.hypot(u, v) / max(length, 1e-12)
            if length < 8 or not SMALLEST <= scale <= LARGEST:
                continue
            angle = math.atan2(v, u) - (math.atan2(-y, x) if mirror else math.atan2(y, x))
            matrix = _similarity(scale, angle, mirror=mirror, shift=(0.0, 0.0))
            matrix[:, 2] = targets[i] - matrix[:, :2] @ sources[i]
            far = np.hypot(*(apply(matrix, sources) - targets).T)
            best = max(best, int((far <= tolerance).sum()))
    return best


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mirror=st.booleans(), scale=st.floats(0.6, 1.8), angle=st.floats(-3, 3))
def test_finds_the_map_among_outliers(*, seed: int, mirror: bool, scale: float, angle: float) -> None:
    """Half of the pairs are wrong, and all right ones are found; no fewer than by loops over every two pairs."""
    rng = np.random.default_rng(seed)
    sources = rng.uniform(0, 300, (24, 2))
    true = _similarity(scale, angle, mirror=mirror, shift=(40.0, -25.0))
    targets = apply(true, sources)
    targets[12:] = rng.uniform(0, 300, (12, 2))
    found = find_consensus(sources, targets, mirrored=mirror, tolerance=2, least=3)
    assert found is not None
    assert found.inliers.sum() >= _most_by_loops(sources, targets, 2, mirror=mirror) - 1
    np.testing.assert_allclose(apply(found.affine, sources[:12]), targets[:12], atol=2)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_equal_input_gives_an_equal_map(seed: int) -> None:
    """Many pairs are sampled, with the same draws at every call."""
    rng = np.random.default_rng(seed)
    sources = rng.uniform(0, 300, (80, 2))
    targets = np.where(np.arange(80)[:, None] < 50, sources + 70, rng.uniform(0, 300, (80, 2)))
    one, two = (find_consensus(sources, targets, mirrored=False, tolerance=2, least=3) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.affine.tobytes() == two.affine.tobytes()
    assert one.inliers[:50].all()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mirror=st.booleans())
def test_fit_is_exact_on_exact_pairs_and_inverts(*, seed: int, mirror: bool) -> None:
    """Few pairs fit a similarity, many an affine map."""
    rng = np.random.default_rng(seed)
    true = _similarity(1.3, 0.7, mirror=mirror, shift=(5.0, 6.0))
    for count in (3, 30):
        sources = rng.uniform(0, 100, (count, 2))
        fitted = fit(sources, apply(true, sources), mirrored=mirror)
        np.testing.assert_allclose(fitted, true, atol=1e-6)
        np.testing.assert_allclose(apply(inverted(fitted), apply(fitted, sources)), sources, atol=1e-6)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_other_scales_are_refused(scale: float) -> None:
    """Nobody enlarges a copy threefold; repeated corners seem to."""
    sources = np.random.default_rng(0).uniform(0, 100, (20, 2))
    assert find_consensus(sources, scale * sources + 90, mirrored=False, tolerance=2, least=3) is None
    assert not is_sane(np.array([[scale, 0, 0], [0, scale, 0.0]]))


def test_too_few_pairs_are_no_consensus() -> None:
    """One place seen with three orientations is one place."""
    sources = np.array([[10.0, 10.0], [10.0, 10.0], [10.0, 10.0], [60.0, 60.0]])
    assert find_consensus(sources, sources + 80, mirrored=False, tolerance=2, least=3) is None
