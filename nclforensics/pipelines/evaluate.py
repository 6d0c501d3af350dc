"""From a data set and a model to a report: every image is analysed at its own size and scored against its mask.

Authentic images come first, since they set the headline threshold; so one pass is enough, and what is kept of an
image is a handful of numbers, never its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nclforensics import __version__
from nclforensics.data.images import LoadedImage, read_image
from nclforensics.errors import NoReadableImageError, UnreadableImageError
from nclforensics.metrics.confusion import Confusion, confusion_at, inverted_confusion_at
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.pixel import auc, average_precision, best_f1, level_counts
from nclforensics.metrics.regions import evidence_score
from nclforensics.pipelines.dataset_check import check_pairs, mask_of_size
from nclforensics.pipelines.evaluation_tables import (
    FIXED_THRESHOLD,
    ModelFacts,
    Thresholds,
    build_protocol,
    flag_rates,
    measures,
    warnings_for,
)
from nclforensics.reports.document import SCHEMA_VERSION, Counts, EvaluationReport, ImageRow, SkippedItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.data.manifest import ImagePair
    from nclforensics.networks.weights import LoadedModel


class ImageLocalizer(Protocol):
    """Anything that gives an image's score map, such as `nclforensics.pipelines.inference.Localizer`."""

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return scores (H, W) in [0, 1] of an RGB image (H, W, 3)."""
        ...


@dataclass
class _Progress:
    """What has been measured so far."""

    rows: list[ImageRow]
    skipped: list[SkippedItem]
    pooled: Confusion


def run_evaluation(
    pairs: Sequence[ImagePair],
    localizer: ImageLocalizer,
    config: EvalConfig,
    *,
    model: ModelFacts,
    dataset: str,
    progress: Callable[[], None] | None = None,
) -> EvaluationReport:
    """Measure a model on a data set.

    Args:
        pairs: Images and masks, as `nclforensics.data.manifest.read_dataset` returns them.
        localizer: Gives the score maps.
        config: How to measure.
        model: What the report says about the model, and its calibrated thresholds.
        dataset: How the report calls the data set.
        progress: Called twice for each pair: after its files were checked, and after it was measured.

    Raises:
        DatasetError: If masks do not fit their images, or look inverted.
        NoReadableImageError: If not one image could be measured.
    """
    tick = progress or _nothing
    checked = check_pairs(pairs, progress=tick)
    done = _Progress([], [SkippedItem(str(pair.image), reason) for pair, reason in checked.skipped], Confusion())
    for pair, image in _loaded([pair for pair in checked.usable if pair.authentic], done, tick):
        score_map = localizer.localize(image.pixels)
        evidence = evidence_score(score_map, min_region=config.min_region)
        done.rows.append(_row(pair, image, evidence=evidence, tampered_share=0.0, figures={}))
    thresholds = _thresholds([row.evidence for row in done.rows], config, model)
    for pair, image in _loaded([pair for pair in checked.usable if not pair.authentic], done, tick):
        assert pair.mask is not None  # check_pairs lets no tampered image without mask pass
        mask = mask_of_size(pair.mask, (image.pixels.shape[0], image.pixels.shape[1]))
        score_map = localizer.localize(image.pixels)
        evidence = evidence_score(score_map, min_region=config.min_region)
        figures, confusion = _figures(score_map, mask, thresholds)
        done.pooled += confusion
        done.rows.append(_row(pair, image, evidence=evidence, tampered_share=float(mask.mean()), figures=figures))
    if not done.rows:
        first = done.skipped[0].reason if done.skipped else "the data set is empty"
        raise NoReadableImageError(f"Not one of {len(pairs)} images in {dataset} could be measured. First: {first}")
    return _report(pairs, done, config, model=model, thresholds=thresholds, dataset=dataset, resized=checked.resized)


def facts_of(model: LoadedModel) -> ModelFacts:
    """Return what a report says about a loaded model."""
    training: dict[str, Any] = model.manifest.get("training", {})
    known = [f"{key}: {value}" for key, value in training.items() if isinstance(value, (str, int, float, list))]
    return ModelFacts(
        name=model.name,
        sha256=model.sha256,
        training_data="; ".join(known) or "not stated in the model's manifest",
        threshold=model.threshold,
        thresholds=dict(model.thresholds),
        min_region=model.min_region,
    )


def _nothing() -> None:
    """Report no progress."""


def _loaded(
    pairs: Sequence[ImagePair], done: _Progress, tick: Callable[[], None]
) -> Iterator[tuple[ImagePair, LoadedImage]]:
    """Yield the images that can be decoded; the others are recorded as skipped."""
    for pair in pairs:
        try:
            image = read_image(pair.image)
        except UnreadableImageError as error:
            done.skipped.append(SkippedItem(str(pair.image), str(error)))
        else:
            yield pair, image
        tick()


def _thresholds(evidence: Sequence[float], config: EvalConfig, model: ModelFacts) -> Thresholds:
    rate = config.false_positive_rate
    if evidence:
        at_rate: float | None = threshold_at_rate(evidence, rate=rate)
    else:
        at_rate = model.thresholds.get(rate)
    return Thresholds(rate=rate, at_rate=at_rate, model=model.threshold, authentic=len(evidence))


def _figures(
    score_map: NDArray[np.float32], mask: NDArray[np.bool_], thresholds: Thresholds
) -> tuple[dict[str, float | None], Confusion]:
    """Return the pixel figures of one tampered image by name, and its counts at the fixed threshold."""
    fixed = confusion_at(score_map, mask, threshold=FIXED_THRESHOLD)
    inverted = inverted_confusion_at(score_map, mask, threshold=FIXED_THRESHOLD)
    counts = level_counts(score_map, mask)
    figures: dict[str, float | None] = {
        "f1@0.5": fixed.f1,
        "iou@0.5": fixed.iou,
        "mcc@0.5": fixed.mcc,
        "f1@model": confusion_at(score_map, mask, threshold=thresholds.model).f1,
        "f1_best": best_f1(counts),
        "f1_permute": max(fixed.f1, inverted.f1),
        "pixel_auc": auc(counts),
        "pixel_ap": average_precision(counts),
    }
    if thresholds.at_rate is not None:
        at_rate = confusion_at(score_map, mask, threshold=thresholds.at_rate)
        label = thresholds.label
        figures |= {f"f1@{label}": at_rate.f1, f"iou@{label}": at_rate.iou, f"mcc@{label}": at_rate.mcc}
    return figures, fixed


def _row(
    pair: ImagePair, image: LoadedImage, *, evidence: float, tampered_share: float, figures: dict[str, float | None]
) -> ImageRow:
    return ImageRow(
        image=str(pair.image),
        authentic=pair.authentic,
        width=image.pixels.shape[1],
        height=image.pixels.shape[0],
        sha256=image.sha256,
        evidence=evidence,
        tampered_share=tampered_share,
        figures=figures,
    )


def _report(
    pairs: Sequence[ImagePair],
    done: _Progress,
    config: EvalConfig,
    *,
    model: ModelFacts,
    thresholds: Thresholds,
    dataset: str,
    resized: int,
) -> EvaluationReport:
    order = {str(pair.image): number for number, pair in enumerate(pairs)}
    rows = tuple(sorted(done.rows, key=lambda row: order[row.image]))
    authentic = sum(row.authentic for row in rows)
    return EvaluationReport(
        schema_version=SCHEMA_VERSION,
        tool="nclforensics",
        tool_version=__version__,
        protocol=build_protocol(config, model, thresholds, dataset=dataset),
        counts=Counts(
            listed=len(pairs),
            tampered=len(rows) - authentic,
            authentic=authentic,
            skipped=len(done.skipped),
            resized_masks=resized,
        ),
        measures=measures(rows, config, thresholds, pooled=done.pooled),
        flag_rates=flag_rates(rows, thresholds),
        warnings=warnings_for(rows, config, model, thresholds=thresholds, skipped=len(done.skipped)),
        images=rows,
        skipped=tuple(done.skipped),
    )
