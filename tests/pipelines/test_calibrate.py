"""Calibration: thresholds from authentic photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from nclforensics.pipelines.calibrate import calibrate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.pipelines.inference import Localizer


class LevelLocalizer:
    """Scores every pixel with the image's mean grey level."""

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a constant map."""
        return np.full(image.shape[:2], round(float(image.mean())) / 255, np.float32)


def calibrate_levels(levels: list[int], *, side: int = 64) -> dict[float, float]:
    """Return the thresholds for uniform images of these grey levels."""
    images = (np.full((side, side, 3), level, np.uint8) for level in levels)
    calibration = calibrate(cast("Localizer", LevelLocalizer()), images, seed=0)
    return dict(zip(calibration.false_positive_rates, calibration.thresholds, strict=True))


def test_threshold_lets_the_stated_share_pass() -> None:
    """Of 2 x 100 images with levels 0 ... 99, 5 % may lie strictly above the threshold: levels 95 to 99."""
    thresholds = calibrate_levels(list(range(100)))

    assert thresholds[0.05] == pytest.approx(94 / 255, abs=1e-4)


def test_rates_finer_than_the_photos_allow_are_left_out() -> None:
    """Twelve photos say nothing about 1, 2 or 5 %, although each is measured twice: its versions are one photo."""
    thresholds = calibrate_levels(list(range(12)))

    assert set(thresholds) == {0.1, 0.2}


def test_photos_are_counted_once() -> None:
    """Whoever reads the number may compute an interval from it."""
    images = (np.full((64, 64, 3), level, np.uint8) for level in range(20))
    calibration = calibrate(cast("Localizer", LevelLocalizer()), images, seed=0)

    assert (calibration.authentic, calibration.versions) == (20, 2)
    assert calibration.sample == "40 images of 20 authentic photos"


def test_the_largest_photo_is_remembered() -> None:
    """For far larger ones the rates are not known to hold; one that is too small to count does not count here."""
    sizes = [(64, 80), (200, 70), (100, 90), (20, 900)]
    images = (np.full((*size, 3), 9, np.uint8) for size in sizes)
    assert calibrate(cast("Localizer", LevelLocalizer()), images, seed=0).largest_pixels == 200 * 70


@pytest.mark.parametrize("levels", [[], [7]], ids=["no image", "tiny image"])
def test_nothing_to_measure_gives_no_thresholds(levels: list[int]) -> None:
    """Without authentic photos, or with too small ones only, the model stays uncalibrated."""
    assert calibrate_levels(levels, side=16) == {}
