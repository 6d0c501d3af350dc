"""The decision about one image, in neutral words, and what its score means; docs/decision.md argues the rules.

Poor quality hides the traces of an edit. So where nothing was found, it turns "no localized evidence" into
"inconclusive"; where regions were found they stay evidence, with the quality as a caveat. Only where the model is known
to raise more false alarms than it was calibrated for is the image inconclusive although regions were found.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from nclforensics.results import ScoreMeaning, is_much_larger

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.results import Calibration, Decision, QualityFacts

# Below this side the network sees a handful of patches, and no photo so small was ever calibrated on.
SMALLEST_SIDE: Final = 64
# At and below it the model finds two fifths, and less, of what it finds without compression (docs/decision.md).
HEAVY_COMPRESSION: Final = 75

# What every model's thresholds were measured in; another number format gives other scores (docs/export.md).
CALIBRATED_PRECISION: Final = "fp32"

# A photo whose whole surface was processed can be marked all over; no edit that the model learned is nearly so large.
LARGEST_SHARE: Final = 0.9


def decide(
    prediction: NDArray[np.bool_],
    quality: QualityFacts | None = None,
    *,
    file_format: str = "",
    largest_pixels: int = 0,
) -> tuple[Decision, str | None]:
    """Return the decision about an image, and its reason: why it is inconclusive, or what weakens its evidence.

    Args:
        prediction: Shape (H, W), bool: the pixels of the regions that count.
        quality: What is known about the image's quality, None if nothing is.
        file_format: Of the image, such as "JPEG".
        largest_pixels: Pixels of the largest photo that the model was calibrated on, 0 if that is not known.
    """
    found = bool(prediction.any())
    unreliable = " ".join(_raising_false_alarms(prediction, quality, file_format))
    if unreliable:
        return "inconclusive", f"{'Regions were' if found else 'No region was'} found, but: {unreliable}"
    weaknesses = list(_hiding_edits(quality)) if quality is not None else []
    if found and is_much_larger(prediction.size, largest_pixels):
        weaknesses.append(_size(prediction.size, largest_pixels))
    hidden = " ".join(weaknesses)
    if found:
        return "localized evidence", f"Caveat: {hidden}" if hidden else None
    if hidden:
        return "inconclusive", f"No region was found, but: {hidden}"
    return "no localized evidence", None


def score_meaning(score: float, calibration: Calibration, *, min_region: float, precision: str) -> ScoreMeaning:
    """Return how many authentic photos score as high: between two rows of the model's calibration table.

    Args:
        score: The image score, in [0, 1].
        calibration: The model's. A threshold of it was set so that at most its rate of the photos score higher, and one
            photo more would be above the rate.
        min_region: The region size that the score was computed with.
        precision: The number format that it was computed in.
    """
    if not calibration.thresholds or min_region != calibration.min_region or precision != CALIBRATED_PRECISION:
        return ScoreMeaning(lowest_rate=0.0, highest_rate=1.0, authentic=0, text=_unknown(calibration, precision))
    rows = list(zip(calibration.false_positive_rates, calibration.thresholds, strict=True))
    lowest = max((rate for rate, threshold in rows if score <= threshold), default=0.0)
    highest = min((rate for rate, threshold in rows if score > threshold), default=1.0)
    return ScoreMeaning(
        lowest_rate=lowest,
        highest_rate=highest,
        authentic=calibration.authentic,
        text=f"{_share(lowest, highest)} of {calibration.sample} scored this high or higher.",
    )


def _share(lowest: float, highest: float) -> str:
    parts = [f"more than {100 * lowest:g} %"] if lowest > 0 else []
    parts += [f"at most {100 * highest:g} %"] if highest < 1 else []
    return " and ".join(parts).capitalize()


def _unknown(calibration: Calibration, precision: str) -> str:
    if not calibration.thresholds:
        return "Unknown: the model was never calibrated on authentic photos."
    if precision != CALIBRATED_PRECISION:
        return f"Unknown: the model was calibrated in {CALIBRATED_PRECISION}, and this is {precision}."
    return f"Unknown: the model was calibrated for regions above {100 * calibration.min_region:g} % of the image."


def _raising_false_alarms(
    prediction: NDArray[np.bool_], quality: QualityFacts | None, file_format: str
) -> Iterator[str]:
    """Yield why the calibrated error rates do not hold, or nothing is localized, a sentence each."""
    share = float(prediction.mean())
    if share > LARGEST_SHARE:  # first: "they" are the regions that the reason begins with
        shown = math.floor(100 * share + 1e-9)  # 100 % only of what is covered as a whole
        yield f"They cover {shown} % of it; what marks nearly all of an image localizes nothing."
    height, width = prediction.shape
    if min(height, width) < SMALLEST_SIDE:
        yield f"The image is {width} x {height} pixels; below {SMALLEST_SIDE} nothing can be said."
    if file_format == "AVIF":  # its quality is not known; at a low one edits are as hard to see as in a poor JPEG
        yield "It is stored as AVIF, in which authentic photos often show regions, and edits often show none."
    if quality is not None and quality.screenshot_like:
        yield "It looks like a screenshot or a framed picture; those of authentic photos often show regions, too."
    if share and quality is not None and quality.levels_changed:  # three quarters are still found: absence stands
        yield (
            "Its levels were changed as a whole, as brightness, contrast, curves or a palette do; authentic photos "
            "often show regions after such a change."
        )


def _size(size: int, largest_pixels: int) -> str:
    return (
        f"It has {size / 1e6:.1f} megapixels; how often authentic photos show regions was measured on photos of at "
        f"most {largest_pixels / 1e6:.1f}, and larger ones show them more often."
    )


def _hiding_edits(quality: QualityFacts) -> Iterator[str]:
    """Yield what may hide an edit, a sentence each."""
    qualities = [value for value in (quality.jpeg_quality, quality.earlier_jpeg_quality) if value is not None]
    if qualities and min(qualities) <= HEAVY_COMPRESSION:
        saved = "is" if min(qualities) == quality.jpeg_quality else "was"
        yield f"It {saved} heavily compressed (JPEG quality about {min(qualities)}), which wipes out traces of edits."
    if quality.upscaled:
        yield "It has traces of enlargement, which softens traces of edits."
    if quality.near_uniform:
        yield f"{100 * quality.textureless_share:.0f} % of it is without texture, where no traces can be seen."
