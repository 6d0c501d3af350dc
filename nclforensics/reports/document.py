"""The evaluation report as data: what was measured, under which protocol, on which images.

Renderers turn it into text, JSON or CSV and compute nothing, so that all of them say the same. It holds no time stamp:
the same model, images and settings give the same document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SCHEMA_VERSION: Final = 1

Interval = tuple[float, float]


@dataclass(frozen=True)
class Protocol:
    """Everything that a reader must know before comparing a figure with another one.

    Attributes:
        dataset: The data set as the user named it.
        model: Name of the model.
        weights_sha256: SHA-256 of its weights.
        training_data: What the model was trained on.
        resize_rule: At which size images are analysed and scored.
        threshold_rule: How the headline threshold was set.
        averaging: How pixels and images are averaged.
        authentic_images: Where authentic images enter, and where not.
        region_rule: Which regions count when an image is flagged.
        interval_rule: How the intervals were computed.
    """

    dataset: str
    model: str
    weights_sha256: str
    training_data: str
    resize_rule: str
    threshold_rule: str
    averaging: str
    authentic_images: str
    region_rule: str
    interval_rule: str


@dataclass(frozen=True)
class Counts:
    """How many images of the set were measured.

    Attributes:
        listed: Images named by the data set.
        tampered: Tampered images measured.
        authentic: Authentic images measured.
        skipped: Images left out, each with its reason in the report.
        resized_masks: Masks that were resized to their image (nearest neighbour).
    """

    listed: int
    tampered: int
    authentic: int
    skipped: int
    resized_masks: int


@dataclass(frozen=True)
class Measure:
    """One figure of the set.

    Attributes:
        name: For example "f1@fpr5".
        value: None where the set has no image it could be computed from.
        interval: 95 % interval, None where there is none to give.
        count: Number of images behind it.
        meaning: One line that defines it.
        chance: What an uninformed map would reach, None where that is not defined.
    """

    name: str
    value: float | None
    interval: Interval | None
    count: int
    meaning: str
    chance: float | None = None


@dataclass(frozen=True)
class FlagRate:
    """How many images of each kind are flagged at one threshold.

    Attributes:
        name: Which threshold: "0.5", "model" or "fpr5".
        threshold: Its value.
        authentic_flagged: Authentic images with a region above it: false alarms.
        authentic_count: Authentic images.
        false_positive_rate: Their quotient, None without authentic images.
        false_positive_interval: Its Wilson 95 % interval.
        tampered_flagged: Tampered images with a region above it, wherever that region lies.
        tampered_count: Tampered images.
        detection_rate: Their quotient, None without tampered images.
        detection_interval: Its Wilson 95 % interval.
    """

    name: str
    threshold: float
    authentic_flagged: int
    authentic_count: int
    false_positive_rate: float | None
    false_positive_interval: Interval | None
    tampered_flagged: int
    tampered_count: int
    detection_rate: float | None
    detection_interval: Interval | None


@dataclass(frozen=True)
class ImageRow:
    """The figures of one image; those of pixels are None for an authentic one.

    Attributes:
        image: Path as the data set gives it.
        authentic: Whether nothing in it is tampered.
        width: Pixels a row.
        height: Rows.
        sha256: SHA-256 of the file.
        evidence: Evidence score in [0, 1].
        tampered_share: Share of tampered pixels.
        figures: Per-image values by name, in the order of the report's measures; None where undefined.
    """

    image: str
    authentic: bool
    width: int
    height: int
    sha256: str
    evidence: float
    tampered_share: float
    figures: dict[str, float | None]


@dataclass(frozen=True)
class SkippedItem:
    """An image that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class EvaluationReport:
    """The whole document.

    Attributes:
        schema_version: Version of this structure.
        tool: Name of the tool.
        tool_version: Its version.
        protocol: How it was measured.
        counts: On how many images.
        measures: The figures, headline first.
        flag_rates: False alarms and detections at each threshold.
        warnings: What a reader should know before using the figures.
        images: One row an image.
        skipped: What was left out.
    """

    schema_version: int
    tool: str
    tool_version: str
    protocol: Protocol
    counts: Counts
    measures: tuple[Measure, ...]
    flag_rates: tuple[FlagRate, ...]
    warnings: tuple[str, ...]
    images: tuple[ImageRow, ...]
    skipped: tuple[SkippedItem, ...]
