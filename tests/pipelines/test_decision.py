from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.pipelines.decision import HEAVY_COMPRESSION, SMALLEST_SIDE, decide, score_meaning
from nclforensics.results import Calibration, QualityFacts
from tests.factories import make_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOOD = QualityFacts(
    jpeg_quality=None,
    jpeg_standard_tables=None,
    jpeg_subsampling=None,
    jpeg_progressive=None,
    earlier_jpeg_gain=0.0,
    earlier_jpeg_quality=None,
    resampling_peak=0.0,
    resampling_frequency=None,
    softness=2.0,
    upscaled=False,
    textureless_share=0.0,
    near_uniform=False,
    flat_share=0.0,
    ruled_share=0.0,
    screenshot_like=False,
    level_unevenness=0.0,
    levels_changed=False,
)
POOR: dict[str, dict[str, Any]] = {
    "heavily compressed": {"jpeg_quality": HEAVY_COMPRESSION},
    "enlargement": {"upscaled": True},
    "97 % of it is without texture": {"near_uniform": True, "textureless_share": 0.97},
}
CALIBRATION = Calibration(
    false_positive_rates=(0.01, 0.05, 0.2),
    thresholds=(0.99, 0.9, 0.5),
    min_region=0.005,
    authentic=137,
    source="photos",
    versions=2,
)
poor = pytest.mark.parametrize(("words", "changes"), list(POOR.items()), ids=list(POOR))


def _prediction(*, found: bool) -> NDArray[np.bool_]:
    return make_mask(128, 96, box=(8, 8, 20, 24) if found else None)


@pytest.mark.parametrize("quality", [None, GOOD])
@pytest.mark.parametrize("found", [True, False])
def test_good_quality_leaves_the_finding_alone(quality: QualityFacts | None, *, found: bool) -> None:
    """What the prediction says, without a reason; also where nothing is known about the quality."""
    expected = "localized evidence" if found else "no localized evidence"
    assert decide(_prediction(found=found), quality) == (expected, None)


@pytest.mark.parametrize(("height", "decision"), [(115, "localized evidence"), (117, "inconclusive")])
def test_a_mark_over_nearly_all_of_an_image_localizes_nothing(height: int, decision: str) -> None:
    """Up to 90 % of the image a region is evidence, beyond that the reason says how much is covered."""
    found, reason = decide(make_mask(128, 96, box=(0, 0, height, 96)), GOOD)
    assert found == decision
    assert (reason is None) == (decision == "localized evidence")
    if reason is not None:
        assert reason.startswith("Regions were found, but: They cover 91 % of it")


def test_a_small_image_marked_all_over_says_first_how_much_is_covered() -> None:
    """The sentence about the regions follows the one that names them."""
    found, reason = decide(make_mask(40, 40, box=(0, 0, 40, 40)), GOOD)
    assert found == "inconclusive"
    assert reason is not None
    assert reason.startswith("Regions were found, but: They cover 100 % of it")
    part = make_mask(40, 40, box=(0, 0, 40, 40))
    part[0, 0] = False
    assert "They cover 99 % of it" in str(decide(part, GOOD)[1])
    assert "40 x 40" in reason


@poor
def test_poor_quality_makes_an_absence_inconclusive(words: str, changes: dict[str, Any]) -> None:
    """What could not have been seen was not excluded."""
    decision, reason = decide(_prediction(found=False), dataclasses.replace(GOOD, **changes))
    assert decision == "inconclusive"
    assert words in str(reason)


@poor
def test_poor_quality_stays_with_the_evidence_as_a_caveat(words: str, changes: dict[str, Any]) -> None:
    """A region that was found is never hidden; the reader is told what weakens it."""
    decision, reason = decide(_prediction(found=True), dataclasses.replace(GOOD, **changes))
    assert decision == "localized evidence"
    assert words in str(reason)


@pytest.mark.parametrize(
    ("found", "beginning"), [(True, "Regions were found, but"), (False, "No region was found, but")]
)
def test_tiny_images_are_inconclusive_whatever_was_found(beginning: str, *, found: bool) -> None:
    """Nothing was ever calibrated on them, so a region there has no known error rate."""
    prediction = make_mask(SMALLEST_SIDE - 1, 200, box=(8, 8, 20, 24) if found else None)
    decision, reason = decide(prediction, GOOD)
    assert decision == "inconclusive"
    assert str(reason).startswith(f"{beginning}: The image is 200 x {SMALLEST_SIDE - 1} pixels")


@pytest.mark.parametrize("found", [True, False])
def test_screenshots_are_inconclusive_whatever_was_found(*, found: bool) -> None:
    """The model flags nearly half of the authentic ones: its calibrated error rate does not hold."""
    decision, reason = decide(_prediction(found=found), dataclasses.replace(GOOD, screenshot_like=True))
    assert decision == "inconclusive"
    assert "screenshot" in str(reason)


@pytest.mark.parametrize("found", [True, False])
def test_an_avif_is_inconclusive_whatever_was_found(*, found: bool) -> None:
    """Of authentic photos stored so at quality 70 more than a quarter are flagged; other formats are not."""
    decision, reason = decide(_prediction(found=found), GOOD, file_format="AVIF")
    assert decision == "inconclusive"
    assert str(reason).endswith("often show regions, and edits often show none.")
    for other in ("HEIC", "WEBP", "PNG"):
        assert decide(_prediction(found=found), GOOD, file_format=other) == decide(_prediction(found=found), GOOD)


def test_regions_in_changed_levels_are_inconclusive() -> None:
    """Of authentic photos brightened or darkened in an editor seven times as many are flagged; absence stands."""
    changed = dataclasses.replace(GOOD, levels_changed=True)
    decision, reason = decide(_prediction(found=True), changed)
    assert decision == "inconclusive"
    assert "levels were changed" in str(reason)
    assert decide(_prediction(found=False), changed) == ("no localized evidence", None)


def test_every_weakness_is_named() -> None:
    """Several reasons stand side by side."""
    quality = dataclasses.replace(GOOD, upscaled=True, near_uniform=True)
    _, reason = decide(_prediction(found=False), quality)
    assert "enlargement" in str(reason)
    assert "without texture" in str(reason)


def test_earlier_saving_counts_like_the_last_one() -> None:
    """Saving a poor JPEG again at a high quality, or as PNG, brings nothing back."""
    quality = dataclasses.replace(GOOD, jpeg_quality=98, earlier_jpeg_quality=50)
    decision, reason = decide(_prediction(found=False), quality)
    assert decision == "inconclusive"
    assert "was heavily compressed (JPEG quality about 50)" in str(reason)


def test_compression_above_the_limit_is_no_reason() -> None:
    """One step better than the limit is conclusive."""
    quality = dataclasses.replace(GOOD, jpeg_quality=HEAVY_COMPRESSION + 1, earlier_jpeg_quality=HEAVY_COMPRESSION + 1)
    assert decide(_prediction(found=False), quality) == ("no localized evidence", None)


CALIBRATED = 128 * 96 // 4 - 1  # pixels: the image of these tests has just more than four times as many


def test_a_much_larger_photo_weakens_its_evidence() -> None:
    """The rate of false alarms was measured on smaller ones; up to four times as large nothing is said."""
    decision, reason = decide(_prediction(found=True), GOOD, largest_pixels=CALIBRATED)
    assert decision == "localized evidence"
    assert str(reason).startswith("Caveat: It has 0.0 megapixels; how often authentic photos show regions")
    for largest in (CALIBRATED + 1, 0):
        assert decide(_prediction(found=True), GOOD, largest_pixels=largest) == ("localized evidence", None)
    assert decide(_prediction(found=False), GOOD, largest_pixels=CALIBRATED) == ("no localized evidence", None)
    poor = dataclasses.replace(GOOD, upscaled=True)
    assert "enlargement" in str(decide(_prediction(found=True), poor, largest_pixels=CALIBRATED)[1])


@pytest.mark.parametrize(
    ("score", "rates", "share"),
    [
        (1.0, (0, 0.01), "At most 1 %"),
        (0.99, (0.01, 0.05), "More than 1 % and at most 5 %"),
        (0.95, (0.01, 0.05), "More than 1 % and at most 5 %"),
        (0.9, (0.05, 0.2), "More than 5 % and at most 20 %"),
        (0.5, (0.2, 1), "More than 20 %"),
        (0.0, (0.2, 1), "More than 20 %"),
    ],
)
def test_score_lies_between_two_rows_of_the_table(score: float, rates: tuple[float, float], share: str) -> None:
    """A threshold is itself the score of a photo, the first one above the rate, so a score equal to it has more."""
    meaning = score_meaning(score, CALIBRATION, min_region=0.005, precision="fp32")
    assert (meaning.lowest_rate, meaning.highest_rate) == rates
    assert (meaning.authentic, meaning.text) == (
        137,
        f"{share} of 274 images of 137 authentic photos scored this high or higher.",
    )


def test_another_region_size_has_no_calibrated_meaning() -> None:
    """Smaller regions score higher: the table says nothing about them."""
    meaning = score_meaning(1.0, CALIBRATION, min_region=0.001, precision="fp32")
    assert (meaning.lowest_rate, meaning.highest_rate, meaning.authentic) == (0, 1, 0)
    assert "regions above 0.5 %" in meaning.text


def test_another_precision_has_no_calibrated_meaning() -> None:
    """It gives other scores, and the reason says which ones the table is about."""
    meaning = score_meaning(1.0, CALIBRATION, min_region=0.005, precision="bf16")
    assert (meaning.lowest_rate, meaning.highest_rate, meaning.authentic) == (0, 1, 0)
    assert meaning.text == "Unknown: the model was calibrated in fp32, and this is bf16."


def test_model_without_calibration_has_no_meaning() -> None:
    """It is said, not guessed."""
    uncalibrated = dataclasses.replace(CALIBRATION, false_positive_rates=(), thresholds=(), authentic=0)
    assert "never calibrated" in score_meaning(1.0, uncalibrated, min_region=0.005, precision="fp32").text
