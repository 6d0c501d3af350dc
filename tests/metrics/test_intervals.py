from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from nclforensics.metrics.intervals import bootstrap_interval, mean, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_interval_equals_newcombe(successes: int, trials: int, expected: tuple[float, float]) -> None:
    """The four examples of Newcombe 1998, table I, method 3."""
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (5, 100), (100, 100), (3, 7)])
def test_wilson_interval_equals_scipy(successes: int, trials: int) -> None:
    """A second implementation agrees, at both ends too."""
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_interval_without_trials() -> None:
    """No images, no interval."""
    assert wilson_interval(0, 0) is None


def test_bootstrap_interval_agrees_with_the_normal_one() -> None:
    """For a mean of many values the two must be close."""
    values = np.random.default_rng(1).normal(5, 2, 400).tolist()
    found = bootstrap_interval([values], mean, resamples=2000, seed=0)
    half = 1.96 * float(np.std(values)) / 20
    assert found == pytest.approx((mean(values) - half, mean(values) + half), abs=0.03)


def test_bootstrap_interval_is_repeatable_and_seeded() -> None:
    """The same seed gives the same report."""
    values = [0.1, 0.9, 0.4, 0.7, 0.2]
    first, again, other = (bootstrap_interval([values], mean, resamples=50, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_bootstrap_interval_resamples_each_group() -> None:
    """Groups keep their sizes and are never mixed."""
    seen: set[tuple[int, int]] = set()

    def statistic(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        seen.add((first.size, second.size))
        assert first.max() < second.min()
        return float(second.sum() - first.sum())

    assert bootstrap_interval([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]], statistic, resamples=20, seed=0) is not None
    assert seen == {(3, 4)}


def test_equal_values_have_no_interval() -> None:
    """Six images at 0 do not prove that the next one is at 0."""
    assert bootstrap_interval([[0.0] * 6], mean, resamples=20, seed=0) is None


@pytest.mark.parametrize("groups", [[[]], [[0.5]], [[0.5, 0.6], [0.1]]])
def test_bootstrap_interval_needs_two_values(groups: list[list[float]]) -> None:
    """One value says nothing about its spread."""
    assert bootstrap_interval(groups, lambda *arrays: float(len(arrays)), resamples=10, seed=0) is None
