"""Calibration: which threshold flags which share of authentic photos.

A photo is flagged if any region above the threshold is larger than `min_region` of its area. Each held-out photo is
measured as it is and saved once more as JPEG, since a photo that reaches an examiner has often been re-saved. Both
are images in their own right, but not two photos: how fine a rate can be told follows from the number of photos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.data.histories import decode_jpeg, jpeg_bytes
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.regions import evidence_score
from nclforensics.pipelines.seeding import derived_seed
from nclforensics.results import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from nclforensics.pipelines.inference import Localizer

RATES: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
MIN_REGION: Final = 0.005
MIN_SIDE: Final = 64  # smaller images are inconclusive in a scan, so they calibrate nothing
VERSIONS: Final = 2
LOWEST_QUALITY: Final = 60
HIGHEST_QUALITY: Final = 96


def calibrate(
    localizer: Localizer,
    images: Iterator[NDArray[np.uint8]],
    *,
    seed: int,
    report: Callable[[int], None] = lambda _done: None,
) -> Calibration:
    """Measure the thresholds on authentic photos.

    Args:
        localizer: Holds the network.
        images: Authentic photos that the network has not seen, uint8 (H, W, 3) RGB.
        seed: Seeds the JPEG qualities.
        report: Called with the number of images done.
    """
    evidence: list[float] = []
    largest = 0
    for version in calibration_images(images, seed=seed):
        largest = max(largest, version.shape[0] * version.shape[1])
        evidence.append(evidence_score(localizer.localize(version), min_region=MIN_REGION))
        report(len(evidence))
    photos = len(evidence) // VERSIONS
    # A rate that not even one photo stands for would be a guess.
    rates = tuple(rate for rate in RATES if rate * photos >= 1)
    return Calibration(
        false_positive_rates=rates,
        thresholds=tuple(threshold_at_rate(evidence, rate=rate) for rate in rates),
        min_region=MIN_REGION,
        authentic=photos,
        versions=VERSIONS,
        largest_pixels=largest,
        source="held-out authentic photos of the training data's sources, each as it is and saved again as JPEG "
        f"(quality {LOWEST_QUALITY} to {HIGHEST_QUALITY})",
    )


def calibration_images(images: Iterator[NDArray[np.uint8]], *, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield each photo that a scan would judge as it is, and saved once more at a quality that depends on its number.

    Args:
        images: As for `calibrate`.
        seed: Seeds the JPEG qualities.
    """
    large_enough = (image for image in images if min(image.shape[:2]) >= MIN_SIDE)
    for number, image in enumerate(large_enough):
        yield image
        yield _saved_again(image, seed=derived_seed(seed, "calibration", VERSIONS * number))


def _saved_again(image: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    quality = int(rng.integers(LOWEST_QUALITY, HIGHEST_QUALITY + 1))
    subsampling = "4:2:0" if rng.random() < 0.7 else "4:4:4"  # noqa: PLR2004 - 4:2:0 is the usual case
    step = {"op": "jpeg", "quality": quality, "colour_quality": quality, "subsampling": subsampling}
    return decode_jpeg(jpeg_bytes(image, step))
