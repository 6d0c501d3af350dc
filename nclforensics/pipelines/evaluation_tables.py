"""From the figures of single images to those of the set, with intervals, chance levels and the protocol in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nclforensics.metrics.image import flagged_count, image_auc
from nclforensics.metrics.intervals import bootstrap_interval, mean, wilson_interval
from nclforensics.metrics.pixel import chance_f1, chance_iou
from nclforensics.reports.document import FlagRate, Measure, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.config import EvalConfig
    from nclforensics.metrics.confusion import Confusion
    from nclforensics.reports.document import ImageRow

FIXED_THRESHOLD: Final = 0.5
_FEW_IMAGES: Final = 30
_MEANINGS: Final = {
    "f1": "F1 of the pixels above {where}, mean over tampered images",
    "iou": "intersection over union of the pixels above {where}, mean over tampered images",
    "mcc": "Matthews correlation of the pixels above {where}, mean over tampered images",
    "f1_best": "F1 at each image's own best threshold (an oracle), mean over tampered images",
    "f1_permute": "the better F1 of the map and of its inverse at 0.5, mean over tampered images",
    "pixel_auc": "area under the ROC curve of an image's pixels, mean over tampered images with authentic pixels",
    "pixel_ap": "average precision of an image's pixels, mean over tampered images",
}


@dataclass(frozen=True)
class ModelFacts:
    """What a report needs to know about a model.

    Attributes:
        name: Its name.
        sha256: Digest of its weights.
        training_data: What it was trained on, in words.
        threshold: Its default threshold.
        thresholds: Calibrated thresholds by false-positive rate.
        min_region: Region size that these hold for, as a share of the image's area.
    """

    name: str
    sha256: str
    training_data: str
    threshold: float
    thresholds: dict[float, float]
    min_region: float


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of one evaluation.

    Attributes:
        rate: False-positive rate of the headline threshold.
        at_rate: The headline threshold; None where neither the set nor the model gives one.
        model: The model's default threshold.
        authentic: Number of authentic images that set the headline threshold; 0: it is the model's.
    """

    rate: float
    at_rate: float | None
    model: float
    authentic: int

    @property
    def label(self) -> str:
        """The rate in names of figures, such as "fpr5"."""
        return f"fpr{100 * self.rate:g}"


def measures(
    rows: Sequence[ImageRow], config: EvalConfig, thresholds: Thresholds, *, pooled: Confusion
) -> tuple[Measure, ...]:
    """Return the figures of the set, headline first."""
    tampered = [row for row in rows if not row.authentic]
    label = thresholds.label
    names = [f"f1@{label}", "f1@0.5", "f1@model", "f1_best", "f1_permute", f"iou@{label}", "iou@0.5"]
    names += [f"mcc@{label}", "mcc@0.5", "pixel_auc", "pixel_ap"]
    found = [_mean_measure(name, tampered, config, thresholds) for name in names]
    pooled_f1 = Measure(
        name="f1_pooled@0.5",
        value=pooled.f1 if tampered else None,
        interval=None,
        count=len(tampered),
        meaning="F1 of all tampered images' pixels in one table: large images dominate; not comparable with f1@0.5",
    )
    found.insert(names.index("f1_permute") + 1, pooled_f1)
    return (*found, _image_auc_measure(rows, config))


def flag_rates(rows: Sequence[ImageRow], thresholds: Thresholds) -> tuple[FlagRate, ...]:
    """Return how many authentic and tampered images are flagged at each threshold."""
    authentic = [row.evidence for row in rows if row.authentic]
    tampered = [row.evidence for row in rows if not row.authentic]
    named: list[tuple[str, float]] = [("0.5", FIXED_THRESHOLD), ("model", thresholds.model)]
    named += [(thresholds.label, thresholds.at_rate)] if thresholds.at_rate is not None else []
    return tuple(
        _flag_rate(name, value, authentic, tampered, set_here=name == thresholds.label) for name, value in named
    )


def build_protocol(config: EvalConfig, model: ModelFacts, thresholds: Thresholds, *, dataset: str) -> Protocol:
    """Return in words how the figures came about."""
    return Protocol(
        dataset=dataset,
        model=model.name,
        weights_sha256=model.sha256,
        training_data=model.training_data,
        resize_rule="native size: images are never resized, and are scored at the size of their file",
        threshold_rule=f"{thresholds.label}: {_threshold_rule(thresholds)}; model: its default, "
        f"{thresholds.model:.6g}; a pixel counts as tampered where its score is strictly above the threshold",
        averaging="per image over all of its pixels, then the mean over images with equal weight",
        authentic_images="not in pixel figures; used for the image AUC, the false alarms and, where the set has any, "
        f"for the {thresholds.label} threshold",
        region_rule=f"an image is flagged where an 8-connected region above the threshold covers more than "
        f"{config.min_region:.4g} of its area",
        interval_rule=f"95 %: Wilson score for shares of images, percentile bootstrap over images "
        f"({config.bootstrap} resamples, seed {config.seed}) for means and the image AUC, at fixed thresholds",
    )


def warnings_for(
    rows: Sequence[ImageRow], config: EvalConfig, model: ModelFacts, *, thresholds: Thresholds, skipped: int
) -> tuple[str, ...]:
    """Return what a reader should know before using the figures."""
    notes = []
    count = sum(not row.authentic for row in rows)
    if skipped:
        notes.append(f"{skipped} images were left out; each is listed with its reason.")
    if count < _FEW_IMAGES:
        notes.append(f"Only {count} tampered images: read the intervals, not the values.")
    if not thresholds.authentic:
        notes.append("The set has no authentic images: it says nothing about false alarms.")
    elif thresholds.authentic * thresholds.rate < 1:
        notes.append(
            f"{thresholds.authentic} authentic images cannot resolve a rate of {thresholds.rate:g}: the "
            f"{thresholds.label} threshold is the lowest that flags none of them."
        )
    else:
        notes.append(
            f"The {thresholds.label} threshold was set on this set's own authentic images: its false-positive rate is "
            "given by construction and is no measurement; the rows above it are."
        )
    if thresholds.at_rate is None:
        notes.append(f"The model has no threshold calibrated at a rate of {thresholds.rate:g} either.")
    if config.min_region != model.min_region:
        notes.append(
            f"Regions count from {config.min_region:g} of the area here, the model's thresholds hold for "
            f"{model.min_region:g}."
        )
    return tuple(notes)


def _threshold_rule(thresholds: Thresholds) -> str:
    if thresholds.at_rate is None:
        return "none: no authentic images in the set, and the model is not calibrated at this rate"
    if not thresholds.authentic:
        return f"{thresholds.at_rate:.6g}, the model's calibrated one, since the set has no authentic images"
    return (
        f"{thresholds.at_rate:.6g}, the smallest at which at most {thresholds.rate:.2g} of the set's "
        f"{thresholds.authentic} authentic images are flagged"
    )


def _mean_measure(name: str, rows: Sequence[ImageRow], config: EvalConfig, thresholds: Thresholds) -> Measure:
    known = [(value, row.tampered_share) for row in rows if (value := row.figures.get(name)) is not None]
    values = [value for value, _ in known]
    kind, _, where = name.partition("@")
    place = {"0.5": "0.5", "model": "the model's default threshold"}.get(where, f"the {thresholds.label} threshold")
    return Measure(
        name=name,
        value=mean(values) if values else None,
        interval=bootstrap_interval([values], mean, resamples=config.bootstrap, seed=config.seed),
        count=len(values),
        meaning=_MEANINGS[kind].format(where=place),
        chance=mean([_chance(kind, share) for _, share in known]) if known else None,
    )


def _chance(kind: str, share: float) -> float:
    """Return what an uninformed map reaches: all ones for F1, random of the same area for IoU, any for the rest."""
    if kind.startswith("f1"):
        return chance_f1(share)
    return {"iou": chance_iou(share), "mcc": 0.0, "pixel_auc": 0.5, "pixel_ap": share}[kind]


def _image_auc_measure(rows: Sequence[ImageRow], config: EvalConfig) -> Measure:
    groups = [[row.evidence for row in rows if row.authentic is kind] for kind in (True, False)]
    value = image_auc(*groups)
    return Measure(
        name="image_auc",
        value=value,
        interval=bootstrap_interval(groups, image_auc, resamples=config.bootstrap, seed=config.seed),
        count=len(rows) if value is not None else 0,
        meaning="share of (tampered, authentic) image pairs in which the tampered one has the higher evidence score",
        chance=0.5,
    )


def _flag_rate(
    name: str, threshold: float, authentic: Sequence[float], tampered: Sequence[float], *, set_here: bool
) -> FlagRate:
    alarms, found = (flagged_count(group, threshold=threshold) for group in (authentic, tampered))
    return FlagRate(
        name=name,
        threshold=threshold,
        authentic_flagged=alarms,
        authentic_count=len(authentic),
        false_positive_rate=alarms / len(authentic) if authentic else None,
        # A rate that the threshold was chosen for is no measurement and has no interval.
        false_positive_interval=None if set_here else wilson_interval(alarms, len(authentic)),
        tampered_flagged=found,
        tampered_count=len(tampered),
        detection_rate=found / len(tampered) if tampered else None,
        detection_interval=wilson_interval(found, len(tampered)),
    )
