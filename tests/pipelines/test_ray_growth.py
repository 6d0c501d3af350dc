"""Tests of how a Ray scan uses many workers, with those that `benchmarks/scan_growth.py` simulates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.scan_growth import NoFiles, SimulatedWorkers
from nclforensics.config import ScanConfig
from nclforensics.pipelines import ray_engine
from nclforensics.pipelines.ray_engine import ClusterScan
from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan

if TYPE_CHECKING:
    import pytest

WORKERS, IMAGES = 20, 2_000


def scanned_by(workers: SimulatedWorkers) -> int:
    """Return the number of records of a scan by simulated workers."""
    plan = ScanPlan(tuple(PlannedImage(Path(f"{i}.jpg"), str(i)) for i in range(IMAGES)), (), Path(), replace=False)
    scan = ClusterScan(plan, ScanConfig(), workers, None, None)  # type: ignore[arg-type]
    return sum(1 for _ in scan.run(lambda: False))


def test_a_very_large_image_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one worker computes 40 images' worth, records wait for it in order, but the other workers go on."""
    monkeypatch.setattr(ray_engine, "OutcomeRecorder", NoFiles)
    megapixels = np.full(IMAGES, 12.0)
    megapixels[50] = 500.0
    workers = SimulatedWorkers(WORKERS, megapixels, gigabits=100.0, deaths=0.0)
    assert scanned_by(workers) == IMAGES
    assert workers.efficiency > 0.99


def test_workers_that_die_lose_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in fifty images takes a worker down once, with what else it had; every image still gets its record."""
    monkeypatch.setattr(ray_engine, "OutcomeRecorder", NoFiles)
    workers = SimulatedWorkers(WORKERS, np.full(IMAGES, 12.0), gigabits=100.0, deaths=0.02)
    assert scanned_by(workers) == IMAGES
    assert max(workers.load) > WORKERS, "no worker died"
    assert workers.efficiency > 0.9
