"""One seed decides every generator."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from nclforensics.pipelines.seeding import derived_seed, seed_everything


def _draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()  # noqa: NPY002 - the state under test


@pytest.mark.parametrize("seed", [0, 2**40])
def test_a_seed_decides_all_three_generators(seed: int) -> None:
    """Python, NumPy and torch start over with the same seed and differ with another, even beyond 32 bits."""
    seed_everything(seed)
    first = _draws()
    seed_everything(seed)
    assert first == _draws()
    seed_everything(seed + 2)
    assert all(a != b for a, b in zip(first, _draws(), strict=True))


def test_seeding_asks_for_deterministic_kernels() -> None:
    """And for no choice of kernels by timing."""
    seed_everything(0)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark


def test_derived_seeds_do_not_change() -> None:
    """A step of an old run can be rebuilt: the seed is half of the first 8 bytes of SHA-256 of "0/mining/12"."""
    assert derived_seed(0, "mining", 12) == 1759447003722732158


def test_derived_seeds_depend_on_every_part() -> None:
    """Other runs, purposes, steps and orders give other seeds, all usable by torch."""
    parts = [(run, purpose, step) for run in range(3) for purpose in ("mining", "forge") for step in range(50)]
    seeds = {derived_seed(*part) for part in parts} | {derived_seed("mining", 0, 0)}
    assert len(seeds) == len(parts) + 1
    assert all(0 <= seed < 2**63 for seed in seeds)
