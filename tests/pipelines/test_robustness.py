from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.config import EvalConfig
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import UnreadableImageError
from nclforensics.pipelines.degradations import DEGRADATIONS
from nclforensics.pipelines.evaluation_tables import Thresholds
from nclforensics.pipelines.robustness import _subset, measure_robustness
from nclforensics.reports.document import ImageRow, Robustness
from tests.factories import make_mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

THRESHOLDS = Thresholds(rate=0.05, at_rate=0.6, model=0.8, authentic=2)
CONFIG = EvalConfig(bootstrap=20, robustness=True)
LEVELS = sum(len(item.levels) for item in DEGRADATIONS)


class RedLocalizer:
    """Takes an image's red channel for the score map."""

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return red / 255."""
        return np.asarray(image[:, :, 0] / np.float32(255), dtype=np.float32)


def silent(_stage: str, _steps: int) -> Callable[[], None]:
    """Count no steps."""
    return lambda: None


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Return three tampered images, red at 230 where tampered and 100 elsewhere, and two authentic ones at 140."""
    mask = make_mask(64, 64, box=(16, 16, 48, 48))
    cv2.imwrite(str(tmp_path / "mask.png"), mask.astype(np.uint8) * 255)
    pairs = []
    for number in range(5):
        authentic = number >= 3
        image = np.full((64, 64, 3), 128, dtype=np.uint8)
        image[:, :, 2] = 140 if authentic else np.where(mask, 230, 100)
        image[0, 0] = number  # no two files are equal
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        pairs.append(ImagePair(tmp_path / f"{number}.png", None if authentic else tmp_path / "mask.png", authentic))
    return pairs


def rows_of(pairs: list[ImagePair]) -> list[ImageRow]:
    """Return rows as an evaluation of the undegraded images would."""
    figures: dict[str, float | None] = {"f1@fpr5": 1.0, "f1@0.5": 1.0, "pixel_auc": 1.0}
    return [
        ImageRow(
            image=str(pair.image),
            authentic=pair.authentic,
            width=64,
            height=64,
            sha256="",
            mask_sha256="",
            evidence=0.55 if pair.authentic else 0.9,
            max_score=0.9,
            tampered_share=0.0 if pair.authentic else 0.25,
            figures={} if pair.authentic else figures,
        )
        for pair in pairs
    ]


def measure(pairs: list[ImagePair], config: EvalConfig = CONFIG) -> Robustness:
    """Run with the fake model."""
    return measure_robustness(pairs, RedLocalizer(), config, rows=rows_of(pairs), thresholds=THRESHOLDS, stages=silent)


def values(robustness: Robustness, family: str, level: str) -> dict[str, float | None]:
    """Return the figures of one point by name."""
    point = next(item for item in robustness.points if (item.family, item.level) == (family, level))
    return {item.name: item.value for item in point.measures}


def test_every_level_is_measured_after_the_undegraded_images(pairs: list[ImagePair]) -> None:
    """The first point is that of the rows; every level has all images."""
    robustness = measure(pairs)
    assert (robustness.points[0].family, len(robustness.points)) == ("none", 1 + LEVELS)
    assert values(robustness, "none", "") == {"f1@fpr5": 1.0, "f1@0.5": 1.0, "pixel_auc": 1.0}
    assert {item.count for point in robustness.points for item in point.measures} == {3}
    assert "all that were measured" in robustness.subset


def test_the_threshold_is_that_of_the_undegraded_images(pairs: list[ImagePair]) -> None:
    """Gamma 0.5 lifts 140 to 189 and 100 to 160, above 0.6: all authentic images are flagged, F1 is that of ones."""
    robustness = measure(pairs)
    points = {point.level: point for point in robustness.points}
    flags = points["gamma 0.5"].flags
    assert flags is not None
    assert (flags.threshold, flags.authentic_flagged, flags.false_positive_rate) == (0.6, 2, 1.0)
    assert flags.false_positive_interval is not None
    everything = 2 * 0.25 / 1.25
    assert values(robustness, "gamma", "gamma 0.5")["f1@fpr5"] == pytest.approx(everything, abs=0.001)
    assert values(robustness, "gamma", "gamma 2")["f1@fpr5"] == pytest.approx(1.0, abs=0.001)  # 230 becomes 207


def test_rate_of_the_undegraded_images_is_no_measurement(pairs: list[ImagePair]) -> None:
    """They set the threshold, so their false-positive rate has no interval."""
    flags = measure(pairs).points[0].flags
    assert flags is not None
    assert (flags.authentic_flagged, flags.false_positive_interval) == (0, None)


def test_limit_holds_for_each_kind(pairs: list[ImagePair]) -> None:
    """Of each kind at most one at every level, and the report says so."""
    config = dataclasses.replace(CONFIG, robustness_limit=1)
    robustness = measure(pairs, config)
    assert {item.count for point in robustness.points for item in point.measures} == {1}
    assert {point.flags.authentic_count for point in robustness.points if point.flags} == {1}
    assert "at most 1 of each kind, drawn with seed 0" in robustness.subset


def test_drawing_depends_on_the_seed_alone(pairs: list[ImagePair]) -> None:
    """Of 100 images of each kind 10 are drawn, in the order of the set; 0 takes all."""
    tampered, authentic = rows_of(pairs)[0], rows_of(pairs)[4]
    rows = [
        dataclasses.replace(row, image=f"{number:03d}{row.authentic}")
        for number in range(100)
        for row in (tampered, authentic)
    ]
    chosen = _subset(rows, limit=10, seed=0)
    assert (len(chosen), sum(row.authentic for row in chosen)) == (20, 10)
    assert [row.image for row in chosen] == sorted(row.image for row in chosen)
    assert chosen == _subset(rows, limit=10, seed=0) != _subset(rows, limit=10, seed=1)
    assert rows == _subset(rows, limit=0, seed=0)


def test_steps_are_counted(pairs: list[ImagePair]) -> None:
    """One step an image and level."""
    steps: list[int] = []
    ticks: list[None] = []

    def stages(_stage: str, count: int) -> Callable[[], None]:
        steps.append(count)
        return lambda: ticks.append(None)

    measure_robustness(pairs, RedLocalizer(), CONFIG, rows=rows_of(pairs), thresholds=THRESHOLDS, stages=stages)
    assert steps == [5 * LEVELS] == [len(ticks)]


def test_vanished_region_has_no_figure(pairs: list[ImagePair], tmp_path: Path) -> None:
    """A region of one pixel is gone at a quarter of the size: there is nothing left to find, and n says so."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[33, 33] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    point = next(item for item in measure(pairs).points if item.level == "factor 0.25")
    assert [(item.value, item.count) for item in point.measures] == [(None, 0)] * 3


def test_image_that_changed_meanwhile_is_an_error(pairs: list[ImagePair]) -> None:
    """It was measured before, so the curves would no longer be of the same images."""
    rows = rows_of(pairs)
    pairs[0].image.write_bytes(b"gone")
    with pytest.raises(UnreadableImageError, match="changed during the evaluation"):
        measure_robustness(pairs, RedLocalizer(), CONFIG, rows=rows, thresholds=THRESHOLDS, stages=silent)
