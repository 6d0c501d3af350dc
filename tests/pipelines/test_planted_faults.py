"""Inverted, shuffled and displaced ground truth is flagged in every benchmark, and correct ground truth is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders import LOADERS
from nclforensics.data.sets import load_set
from nclforensics.pipelines.dataset_check import inspect_pairs
from tests.planted_sets import COUNT, LAYOUTS, SHIFT, planted_set

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaded_set import Anomaly
    from tests.planted_sets import Fault

# The four networks differ in nothing but the names of their folders.
NETWORKS = ("whatsapp", "weibo", "wechat")
every_benchmark = pytest.mark.parametrize("name", sorted(name for name in LAYOUTS if not name.endswith(NETWORKS)))


def flags(name: str, root: Path, fault: Fault) -> dict[str, Anomaly]:
    """Return what is said about polarity and alignment of a planted set, notes left out."""
    loaded = load_set(f"{name}:{planted_set(name, root, fault)}")
    checked = inspect_pairs(loaded.pairs)
    assert sum(not pair.authentic for pair in checked.usable) == COUNT
    said = [each for each in (*loaded.anomalies, *checked.anomalies) if each.severity != "note"]
    return {each.kind: each for each in said if each.kind in {"inverted", "misaligned"}}


def test_every_benchmark_is_planted() -> None:
    """A loader added later must be tested here as well."""
    assert set(LAYOUTS) == set(LOADERS)


@every_benchmark
def test_correct_masks_are_not_flagged(name: str, tmp_path: Path) -> None:
    """The conventions of each set, black for tampered or red and green, are no faults."""
    assert flags(name, tmp_path, "none") == {}


@every_benchmark
def test_inverted_masks_are_flagged(name: str, tmp_path: Path) -> None:
    """Either the set is refused, or the loader says that it is a copy of the other polarity."""
    assert set(flags(name, tmp_path, "inverted")) == {"inverted"}


@every_benchmark
def test_shuffled_masks_are_flagged(name: str, tmp_path: Path) -> None:
    """Masks of other images do not follow what the images show."""
    found = flags(name, tmp_path, "shuffled")
    assert set(found) == {"misaligned"}
    assert "do not follow what the images show" in found["misaligned"].message


@every_benchmark
def test_displaced_masks_are_flagged(name: str, tmp_path: Path) -> None:
    """The displacement is told to the pixel."""
    found = flags(name, tmp_path, "shifted")
    assert set(found) == {"misaligned"}
    assert found["misaligned"].message.startswith(f"Masks displaced by about ({SHIFT}, 0) pixels?")
