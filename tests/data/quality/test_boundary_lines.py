"""The evidence for block boundaries of any period, against the sums it stands for, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nclforensics.data.quality import boundary_lines
from nclforensics.data.quality.boundary_lines import LONGEST, PHASES, SHORTEST, boundary_combs

SIZE = 4096


def test_the_evidence_is_the_sum_of_lines_over_noise() -> None:
    """Line by line from the definition of the transform, at every hundredth period and every fifth start."""
    profile = np.random.default_rng(0).normal(size=200)
    combs = boundary_lines._combs(profile, SIZE)
    centred = profile - profile.mean()
    places = np.arange(len(centred)) + 1  # of the boundaries, from the border
    power = np.abs(np.fft.rfft(centred, SIZE)) ** 2
    width = len(power) // 20 | 1
    around = np.pad(power, width // 2, mode="reflect")
    for at in range(0, len(combs.periods), 100):
        period = float(combs.periods[at])
        if abs(period - 8) < 8 * 8 / len(profile):
            assert np.isneginf([combs.evidence[at], combs.sober[at]]).all()
            continue
        for phase in range(0, PHASES, 5):
            start, lines = phase / PHASES * period, []
            for harmonic in range(1, 5):
                line = round(harmonic * SIZE / period)
                if line > SIZE // 2:
                    break
                turned = np.cos(2 * math.pi * harmonic * (places - start) / period)
                lines.append(float(centred @ turned) / math.sqrt(float(around[line : line + width].mean())))
            assert combs.evidence[at, phase] == pytest.approx(sum(lines) / math.sqrt(len(lines) / 2))
            sober = (sum(lines) - max(lines)) / math.sqrt((len(lines) - 1) / 2)
            assert combs.sober[at, phase] == pytest.approx(sober)


def test_the_evidence_counts_standard_deviations_of_noise() -> None:
    """Of noise, whatever its strength, the sums spread by one."""
    rng = np.random.default_rng(1)
    for scale in (0.01, 5):
        evidence = boundary_lines._combs(rng.normal(scale=scale, size=2000), 32768).evidence
        assert evidence[np.isfinite(evidence)].std() == pytest.approx(1, abs=0.05)


def test_periods_cover_what_is_looked_for() -> None:
    """From an enlargement to 175 % down to a reduction to five eighths; rows and columns have the same."""
    rows, columns = boundary_combs(np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8))
    assert np.array_equal(rows.periods, columns.periods)
    assert rows.periods.max() <= LONGEST
    assert rows.periods.min() == pytest.approx(SHORTEST, abs=0.01)
    assert rows.evidence.shape == rows.sober.shape == (len(rows.periods), PHASES)


def test_rows_and_columns_are_told_apart() -> None:
    """Steps every 10 pixels to the right and every 12 downwards, as boundaries are: each changes along its length."""
    rng = np.random.default_rng(0)
    blocks = rng.normal(128, 20, (20, 24)).repeat(12, 0).repeat(10, 1)
    pixels = np.clip(blocks + rng.normal(0, 1, blocks.shape), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    for combs, period in zip(boundary_combs(pixels), (12, 10), strict=True):
        best, phase = np.unravel_index(combs.evidence.argmax(), combs.evidence.shape)
        assert combs.periods[best] == pytest.approx(period, abs=0.05)
        assert phase == 0


def test_odd_lines_are_those_that_half_the_period_lacks() -> None:
    """A period of 10 has four lines, the second and fourth of which are the two of a period of 5."""
    combs, _ = boundary_combs(np.random.default_rng(0).integers(0, 256, (240, 200, 3), np.uint8))
    ten = np.abs(combs.periods - 10).argmin()
    five = np.flatnonzero(np.isclose(combs.periods, combs.periods[ten] / 2, rtol=1e-12, atol=0))[0]
    # A start at the border is one for both.
    odd, even = combs.odd[ten, 0] * np.sqrt(2 / 2), combs.evidence[five, 0] * np.sqrt(2 / 2)
    assert combs.evidence[ten, 0] * np.sqrt(4 / 2) == pytest.approx(odd + even)
    assert abs(odd) > 0.1
