"""The evaluation report as data: what was measured, under which protocol, on which images.

Renderers turn it into text, JSON, CSV or HTML and compute nothing, so that all of them say the same. Its one time stamp
is in `Origin`: otherwise the same model, images and settings give the same document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nclforensics.reports.published import PublishedRow  # noqa: TC001 - render_json reads the hints at run time

SCHEMA_VERSION: Final = 2

Interval = tuple[float, float]


@dataclass(frozen=True)
class Protocol:
    """Everything that a reader must know before comparing a figure with another one.

    Attributes:
        name: Name and title of the evaluation protocol, with its source.
        dataset: The data set as the user named it.
        model: Name of the model.
        weights_sha256: SHA-256 of its weights.
        training_data: What the model was trained on.
        training_match: Whether the model was trained as the protocol asks; one line to print beside the figures, also
            above the published rows.
        resize_rule: At which size images are analysed and scored.
        threshold_rule: How the headline threshold was set.
        averaging: How pixels and images are averaged.
        authentic_images: Where authentic images enter, and where not.
        region_rule: Which regions count when an image is flagged.
        interval_rule: How the intervals were computed.
    """

    name: str
    dataset: str
    model: str
    weights_sha256: str
    training_data: str
    training_match: str
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
        mask_sha256: SHA-256 of the mask's file; "" for an image without one.
        evidence: Evidence score in [0, 1].
        max_score: Highest score of the map, in [0, 1]; the image score of MVSS-Net.
        tampered_share: Share of tampered pixels.
        figures: Per-image values by name, in the order of the report's measures; None where undefined.
    """

    image: str
    authentic: bool
    width: int
    height: int
    sha256: str
    mask_sha256: str
    evidence: float
    max_score: float
    tampered_share: float
    figures: dict[str, float | None]


@dataclass(frozen=True)
class SkippedItem:
    """An image that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class RobustnessPoint:
    """The figures at one level of one degradation, or of the images as they are.

    Attributes:
        family: Name of the degradation, such as "jpeg"; "none" for the images as they are.
        level: The level in words, such as "quality 70"; "" for "none".
        measures: The headline figure, f1 at the threshold of the false-positive rate and at 0.5, and the pixel AUC,
            over the tampered images.
        flags: Images flagged at the threshold of the false-positive rate, that of the undegraded images; None without
            one.
    """

    family: str
    level: str
    measures: tuple[Measure, ...]
    flags: FlagRate | None


@dataclass(frozen=True)
class DegradationText:
    """What one degradation does, for the reader of a report.

    Attributes:
        family: As in `RobustnessPoint`.
        title: Its name in words.
        definition: What happens to the pixels, with the source of the levels.
    """

    family: str
    title: str
    definition: str


@dataclass(frozen=True)
class Robustness:
    """How the figures change when the images are degraded before they are analysed.

    Attributes:
        subset: Which images were measured at every level, in words.
        degradations: What each degradation is, in the order of the points.
        points: The images as they are first, then every level of every degradation.
    """

    subset: str
    degradations: tuple[DegradationText, ...]
    points: tuple[RobustnessPoint, ...]


@dataclass(frozen=True)
class Case:
    """One image shown as pictures: photo with the mask's outline, score map, prediction.

    Attributes:
        role: Why it is shown: "best", "median", "worst" or "false alarm".
        image: As in `ImageRow`.
        figure: Name of the figure that it was chosen by.
        value: Its value.
        threshold: Scores above it are drawn as predicted: the threshold of the figure.
        picture: The pictures are the files `<picture>-photo.jpg`, `<picture>-scores.png` and
            `<picture>-prediction.png`, relative to the report.
    """

    role: str
    image: str
    figure: str
    value: float
    threshold: float
    picture: str


@dataclass(frozen=True)
class Origin:
    """Everything needed to repeat an evaluation, beside the model and the data set named in the protocol.

    Attributes:
        command: The command line, program name first; empty where the library was called.
        created: When it was made, UTC, ISO 8601; "" where nobody said.
        config: Every setting by name.
        data_sha256: SHA-256 over one line an image that was measured, "<sha256 of the image> <sha256 of its mask>" (a
            missing mask leaves the second empty), lines sorted: independent of names, folders and order.
        device: Where the scores were computed.
        versions: Versions of this tool, Python and the libraries that touch pixels or numbers.
    """

    command: tuple[str, ...]
    created: str
    config: dict[str, str | int | float | bool]
    data_sha256: str
    device: str
    versions: dict[str, str]


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
        published: Figures of other methods under the same protocol on the same data set.
        robustness: The figures under degradation; None if it was not asked for.
        cases: Images shown as pictures; empty if no pictures were made.
        origin: How to repeat it.
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
    published: tuple[PublishedRow, ...]
    robustness: Robustness | None
    cases: tuple[Case, ...]
    origin: Origin
