"""What the C library keeps goes back to the system where it can."""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest

from nclforensics.pipelines import heap


def _resident_megabytes() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file
        return int(file.read().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory in this way")
def test_memory_between_kept_blocks_is_given_back() -> None:
    """200 MB in blocks that glibc keeps, each second one freed: half of it is resident no more."""
    heap.release_free_memory()
    blocks = [np.ones(50_000, np.uint8) for _ in range(4000)]
    before = _resident_megabytes()
    del blocks[::2]
    heap.release_free_memory()
    assert _resident_megabytes() < before - 80


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such function, nothing happens."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    heap._trim.cache_clear()
    heap.release_free_memory()
    heap._trim.cache_clear()
