"""How far a figure measured on few images can be trusted: 95 % intervals of shares, means and other statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Z_95: Final = 1.959963984540054  # the standard normal distribution's 97.5 % point


def wilson_interval(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float] | None:
    """Return the Wilson score interval of a share, which stays sensible at 0 and at all; None without trials.

    Args:
        successes: Number counted, 0 to `trials`.
        trials: Number of images.
        z: Normal quantile; the default gives 95 %.

    Source: Wilson 1927, as in Newcombe, Statistics in Medicine 17, 1998, method 3.
    """
    if not trials:
        return None
    share = successes / trials
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    middle, scale = share + z * z / (2 * trials), 1 + z * z / trials
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return 0.0 if successes == 0 else low, 1.0 if successes == trials else high


def bootstrap_interval(
    groups: Sequence[Sequence[float]],
    statistic: Callable[..., float | None],
    *,
    resamples: int,
    seed: int,
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a statistic of one or more groups of images.

    Each group is resampled by itself, so that the numbers of authentic and tampered images stay what they are.

    Args:
        groups: Values, one sequence a group.
        statistic: Called with one array a group.
        resamples: Number of resamples.
        seed: Seeds the resampling: the same values give the same interval.

    Returns:
        The interval, or None where the values say nothing about their spread: a group has fewer than two, or all
        resamples agree (a width of 0 would claim certainty).
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if not resamples or any(array.size < 2 for array in arrays):  # noqa: PLR2004
        return None
    generator = np.random.default_rng(seed)
    drawn = (statistic(*[_resample(array, generator) for array in arrays]) for _ in range(resamples))
    low, high = np.percentile([value for value in drawn if value is not None], [2.5, 97.5])
    return (float(low), float(high)) if low < high else None


def mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the arithmetic mean."""
    return float(np.mean(values))


def _resample(array: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    return array[generator.integers(0, array.size, array.size)]
