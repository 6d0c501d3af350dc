"""From the figures of single images to those of the set, with intervals, chance levels and the protocol in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nclforensics.metrics.figures import FIXED_THRESHOLD, NOSCORE_SHARE, FigureThresholds, figure_names
from nclforensics.metrics.image import flagged_count
from nclforensics.metrics.intervals import bootstrap_interval, mean, wilson_interval
from nclforensics.metrics.pixel import chance_f1
from nclforensics.pipelines.image_measures import by_kind, image_measures
from nclforensics.pipelines.protocols import protocol_named, training_match
from nclforensics.reports.document import FlagRate, Measure, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.config import EvalConfig
    from nclforensics.metrics.confusion import Confusion
    from nclforensics.reports.document import ImageRow

_FEW_IMAGES: Final = 30
_POOLED: Final = "f1_pooled@0.5"
_BORDER: Final = "outside the border of the mask (eroded by 15, dilated by 11 pixels)"
_MEANINGS: Final = {
    "f1": "F1 of the pixels above {where}, mean over tampered images",
    "iou": "intersection over union of the pixels above {where}, mean over tampered images",
    "mcc": "Matthews correlation of the pixels above {where}, mean over tampered images",
    "f1_best": "F1 at each image's own best threshold (an oracle), mean over tampered images",
    "f1_permute": "the better F1 of the prediction at 0.5 and of its complement, mean over tampered images",
    "f1_macro": "mean of the F1 of tampered and of authentic pixels at 0.5, mean over tampered images",
    "f1_noscore": f"F1 at 0.5 of the pixels {_BORDER}, mean over tampered images with pixels left",
    "f1_noscore_permute": f"f1_permute of the pixels {_BORDER}, mean over tampered images with pixels left",
    "pixel_auc": "area under the ROC curve of an image's pixels, mean over tampered images with authentic pixels",
    "pixel_ap": "average precision of an image's pixels, mean over tampered images",
}


@dataclass(frozen=True)
class ModelFacts:
    """What a report needs to know about a model.

    Attributes:
        name: Its name.
        sha256: Digest of its weights.
        threshold: Its default threshold.
        thresholds: Calibrated thresholds by false-positive rate.
        min_region: Region size that these hold for, as a share of the image's area.
        training: What its manifest says of its training; empty if it says nothing.
    """

    name: str
    sha256: str
    threshold: float
    thresholds: dict[float, float]
    min_region: float
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def training_data(self) -> str:
        """What it was trained on, in words."""
        plain = {key: value for key, value in self.training.items() if isinstance(value, (str, int, float, list))}
        return "; ".join(f"{key}: {value}" for key, value in plain.items()) or "not stated in the model's manifest"


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

    @property
    def figures(self) -> FigureThresholds:
        """What the figures of an image's pixels need of it."""
        return FigureThresholds(label=self.label, at_rate=self.at_rate, model=self.model)


def headline_name(config: EvalConfig, thresholds: Thresholds) -> str:
    """Return the name of the figure that the protocol quotes."""
    headline = protocol_named(config.protocol).headline
    return f"f1@{thresholds.label}" if headline == "f1@fpr" else headline


def measures(
    rows: Sequence[ImageRow], config: EvalConfig, thresholds: Thresholds, *, pooled: Confusion
) -> tuple[Measure, ...]:
    """Return the figures of the set, headline first."""
    tampered = [row for row in rows if not row.authentic]
    names = [name for name in figure_names(thresholds.label) if name != NOSCORE_SHARE]
    found = [mean_measure(name, tampered, config, thresholds) for name in names]
    found.insert(names.index("f1_permute") + 1, _pooled_measure(tampered, pooled))
    headline = headline_name(config, thresholds)
    found.sort(key=lambda item: item.name != headline)
    return (*found, *image_measures(rows, config, threshold=thresholds.model))


def flag_rates(rows: Sequence[ImageRow], thresholds: Thresholds) -> tuple[FlagRate, ...]:
    """Return how many authentic and tampered images are flagged at each threshold."""
    authentic, tampered = by_kind(rows, lambda row: row.evidence)
    named: list[tuple[str, float]] = [("0.5", FIXED_THRESHOLD), ("model", thresholds.model)]
    named += [(thresholds.label, thresholds.at_rate)] if thresholds.at_rate is not None else []
    return tuple(
        flag_rate(name, value, authentic, tampered, set_here=name == thresholds.label) for name, value in named
    )


def build_protocol(config: EvalConfig, model: ModelFacts, thresholds: Thresholds, *, dataset: str) -> Protocol:
    """Return in words how the figures came about."""
    protocol = protocol_named(config.protocol)
    fixed = "" if protocol.threshold is None else f"{headline_name(config, thresholds)}: {protocol.threshold_rule}; "
    return Protocol(
        name=f"{protocol.name}: {protocol.title} ({protocol.source})",
        dataset=dataset,
        model=model.name,
        weights_sha256=model.sha256,
        training_data=model.training_data,
        training_match=training_match(protocol, model.training),
        resize_rule=protocol.resize_rule,
        threshold_rule=f"{fixed}{thresholds.label}: {_threshold_rule(thresholds)}; model: its default, "
        f"{thresholds.model:.6g}; a pixel counts as tampered where its score is strictly above the threshold",
        averaging=protocol.averaging,
        authentic_images=protocol.authentic_images,
        region_rule=f"an image is flagged where an 8-connected region above the threshold covers more than "
        f"{config.min_region:.4g} of its area",
        interval_rule=f"95 %: Wilson score for shares of images, percentile bootstrap over images "
        f"({config.bootstrap} resamples, seed {config.seed}) for everything else, at fixed thresholds",
    )


def warnings_for(
    rows: Sequence[ImageRow], config: EvalConfig, model: ModelFacts, *, thresholds: Thresholds, skipped: int
) -> tuple[str, ...]:
    """Return what a reader should know before using the figures."""
    notes = []
    count = sum(not row.authentic for row in rows)
    empty = sum(not row.authentic and not row.tampered_share for row in rows)
    if skipped:
        notes.append(f"{skipped} images were left out; each is listed with its reason.")
    if empty:
        notes.append(
            f"{empty} tampered images have a mask that marks nothing at the size it is scored at: they have no pixel "
            "figures, and count as tampered in the image figures."
        )
    if count < _FEW_IMAGES:
        notes.append(f"Only {count} tampered images: read the intervals, not the values.")
    notes += _threshold_notes(thresholds)
    if config.min_region != model.min_region:
        notes.append(
            f"Regions count above {config.min_region:g} of the area here, the model's thresholds hold for "
            f"{model.min_region:g}."
        )
    if config.both_places:
        notes.append(
            "The original of a copy is marked too, as the ground truth is said to do; a scan marks the copy only."
        )
    if protocol_named(config.protocol).resize is not None:
        notes.append("The model's own thresholds were calibrated at native size, and images are resized here.")
    return tuple(notes)


def mean_measure(name: str, rows: Sequence[ImageRow], config: EvalConfig, thresholds: Thresholds) -> Measure:
    """Return the mean of one figure of `figure_names` over tampered images, and of its chance level."""
    known = [(value, row) for row in rows if (value := row.figures.get(name)) is not None]
    values = [value for value, _ in known]
    kind, _, where = name.partition("@")
    place = {"0.5": "0.5", "model": "the model's default threshold"}.get(where, f"the {thresholds.label} threshold")
    return Measure(
        name=name,
        value=mean(values) if values else None,
        interval=bootstrap_interval([values], mean, resamples=config.bootstrap, seed=config.seed),
        count=len(values),
        meaning=_MEANINGS[kind].format(where=place),
        chance=mean([_chance(kind, row) for _, row in known]) if known else None,
    )


def flag_rate(
    name: str, threshold: float, authentic: Sequence[float], tampered: Sequence[float], *, set_here: bool
) -> FlagRate:
    """Return how many images are flagged at one threshold.

    Args:
        name: Of the threshold.
        threshold: Evidence strictly above it flags an image.
        authentic: Evidence of the authentic images.
        tampered: Evidence of the tampered images.
        set_here: Whether these authentic images set the threshold: the rate is then no measurement, without interval.
    """
    alarms, found = (flagged_count(group, threshold=threshold) for group in (authentic, tampered))
    return FlagRate(
        name=name,
        threshold=threshold,
        authentic_flagged=alarms,
        authentic_count=len(authentic),
        false_positive_rate=alarms / len(authentic) if authentic else None,
        false_positive_interval=None if set_here else wilson_interval(alarms, len(authentic)),
        tampered_flagged=found,
        tampered_count=len(tampered),
        detection_rate=found / len(tampered) if tampered else None,
        detection_interval=wilson_interval(found, len(tampered)),
    )


def _threshold_notes(thresholds: Thresholds) -> list[str]:
    notes = []
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
    return notes


def _threshold_rule(thresholds: Thresholds) -> str:
    if thresholds.at_rate is None:
        return "none: no authentic images in the set, and the model is not calibrated at this rate"
    if not thresholds.authentic:
        return f"{thresholds.at_rate:.6g}, the model's calibrated one, since the set has no authentic images"
    return (
        f"{thresholds.at_rate:.6g}, the smallest at which at most {thresholds.rate:g} of the set's "
        f"{thresholds.authentic} authentic images are flagged"
    )


def _chance(kind: str, row: ImageRow) -> float:
    """Return what the best uninformed map reaches.

    All ones for F1 and IoU, a random map of the same area for macro F1, any map for the rest.
    """
    share = row.tampered_share
    if kind.startswith("f1_noscore"):
        outside = row.figures[NOSCORE_SHARE]
        assert outside is not None, "a figure outside the border has pixels there"
        return chance_f1(outside)
    constant = {"iou": share, "f1_macro": 0.5, "mcc": 0.0, "pixel_auc": 0.5, "pixel_ap": share}
    return constant.get(kind, chance_f1(share))


def _pooled_measure(tampered: Sequence[ImageRow], pooled: Confusion) -> Measure:
    count = sum(row.tampered_share > 0 for row in tampered)
    return Measure(
        name=_POOLED,
        value=pooled.f1 if count else None,
        interval=None,
        count=count,
        meaning="F1 of all tampered images' pixels in one table: large images dominate; not comparable with f1@0.5",
        chance=chance_f1(pooled.tampered / pooled.total) if count else None,
    )
