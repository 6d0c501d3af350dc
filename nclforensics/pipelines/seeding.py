"""One seed in, every generator out."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic kernels (a warning where one has none)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that use the global state
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts and on nothing else.

    A generator seeded with (run seed, purpose, step) needs no state in a checkpoint: resuming at a step gives the same
    draws as never having stopped.
    """
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
