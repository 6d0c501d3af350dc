"""A scan that is killed loses at most what was under way; `scripts/kill_test.py` tries it many more times."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from scripts.kill_test import contents, disturbed_scan, scan, write_photos
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_and_resumed_scan_leaves_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    """Killed at random moments, resumed in new processes: equal bytes, every image recorded once."""
    write_photos(tmp_path / "photos", count=40, side=96, seed=0)
    options = ["--weights", str(write_model(tmp_path / "model"))]
    started = time.monotonic()
    scan(tmp_path, "undisturbed", options)
    lifetime = time.monotonic() - started
    kills = sum(disturbed_scan(tmp_path, options, lifetime=lifetime, dice=random.Random(seed)) for seed in (1, 2))
    assert kills >= 1
    assert contents(tmp_path / "undisturbed")["results.jsonl"].count(b"\n") == 40
