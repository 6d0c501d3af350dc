"""From a data set and a model to a report: every image is analysed under one protocol and scored against its mask.

Authentic images come first, since they set the headline threshold; so one pass is enough, and what is kept of an
image is a handful of numbers, never its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from nclforensics import __version__
from nclforensics.errors import NoReadableImageError
from nclforensics.metrics.confusion import Confusion
from nclforensics.metrics.figures import pixel_figures
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.pipelines.dataset_check import check_pairs, warnings_of
from nclforensics.pipelines.evaluation_origin import describe_origin
from nclforensics.pipelines.evaluation_stream import (
    Sample,
    WorkAhead,
    localize_at_mask_size,
    prepare_sample,
    read_sample,
    row_of,
)
from nclforensics.pipelines.evaluation_tables import (
    ModelFacts,
    Thresholds,
    build_protocol,
    flag_rates,
    measures,
    warnings_for,
)
from nclforensics.pipelines.protocols import protocol_named
from nclforensics.pipelines.robustness import measure_robustness
from nclforensics.reports.document import SCHEMA_VERSION, Counts, EvaluationReport, ImageRow, SkippedItem
from nclforensics.reports.published import published_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.data.loaded_set import LoadedSet
    from nclforensics.data.manifest import ImagePair
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.evaluation_stream import ImageLocalizer
    from nclforensics.pipelines.protocols import EvaluationProtocol
    from nclforensics.reports.published import PublishedRow

    Stages = Callable[[str, int], Callable[[], None]]


@dataclass
class _Run:
    """One evaluation under way."""

    localizer: ImageLocalizer
    config: EvalConfig
    protocol: EvaluationProtocol
    tick: Callable[[], None]
    rows: list[ImageRow] = field(default_factory=list)
    skipped: list[SkippedItem] = field(default_factory=list)
    pooled: Confusion = field(default_factory=Confusion)


def run_evaluation(
    dataset: LoadedSet,
    localizer: ImageLocalizer,
    config: EvalConfig,
    *,
    model: ModelFacts,
    command: Sequence[str] = (),
    device: str = "",
    stages: Stages | None = None,
) -> EvaluationReport:
    """Measure a model on a data set.

    Args:
        dataset: Images and masks, as `nclforensics.data.sets.load_set` returns them.
        localizer: Gives the score maps.
        config: How to measure.
        model: What the report says about the model, and its calibrated thresholds.
        command: The command line, for the report.
        device: Where the localizer computes, for the report.
        stages: Called with the name and the number of steps of each stage ("check", "measure", "robustness"); what it
            returns is called after every step.

    Raises:
        DatasetError: If masks do not fit their images, or look inverted.
        NoReadableImageError: If not one image could be measured.
    """
    stages = stages or _silent
    protocol = protocol_named(config.protocol)
    checked = check_pairs(dataset.pairs, progress=stages("check", len(dataset.pairs)))
    run = _Run(localizer, config, protocol, stages("measure", len(checked.usable)))
    run.skipped += [SkippedItem(str(pair.image), reason) for pair, reason in checked.skipped]
    with WorkAhead() as ahead:
        _measure(run, [pair for pair in checked.usable if pair.authentic], ahead, thresholds=None)
        thresholds = _thresholds([row.evidence for row in run.rows], config, model)
        _measure(run, [pair for pair in checked.usable if not pair.authentic], ahead, thresholds=thresholds)
    if not run.rows:
        first = run.skipped[0].reason if run.skipped else "the data set is empty"
        raise NoReadableImageError(
            f"Not one of {len(dataset.pairs)} images in {dataset.name} could be measured. First: {first}"
        )
    order = {str(pair.image): number for number, pair in enumerate(dataset.pairs)}
    run.rows.sort(key=lambda row: order[row.image])
    robustness = None
    if config.robustness:
        robustness = measure_robustness(
            checked.usable, localizer, config, rows=run.rows, thresholds=thresholds, stages=stages
        )
    return EvaluationReport(
        schema_version=SCHEMA_VERSION,
        tool="nclforensics",
        tool_version=__version__,
        protocol=build_protocol(config, model, thresholds, dataset=dataset.name),
        counts=_counts(run, listed=len(dataset.pairs), resized=checked.resized),
        measures=measures(run.rows, config, thresholds, pooled=run.pooled),
        flag_rates=flag_rates(run.rows, thresholds),
        warnings=(
            *warnings_of(dataset, checked),
            *warnings_for(run.rows, config, model, thresholds=thresholds, skipped=len(run.skipped)),
        ),
        images=tuple(run.rows),
        skipped=tuple(run.skipped),
        published=_published(run.protocol, dataset),
        robustness=robustness,
        cases=(),
        origin=describe_origin(run.rows, config, command=command, device=device),
    )


def facts_of(model: LoadedModel) -> ModelFacts:
    """Return what a report says about a loaded model."""
    return ModelFacts(
        name=model.name,
        sha256=model.sha256,
        training=model.manifest.get("training", {}),
        threshold=model.threshold,
        thresholds=dict(model.thresholds),
        min_region=model.min_region,
    )


def _silent(_stage: str, _steps: int) -> Callable[[], None]:
    """Report no progress."""
    return lambda: None


def _measure(run: _Run, pairs: Sequence[ImagePair], ahead: WorkAhead, *, thresholds: Thresholds | None) -> None:
    """Analyse and score the images of one kind; the thresholds are None for authentic images, which set them."""
    samples = ahead.map(partial(_prepared, protocol=run.protocol), pairs)
    score = partial(_score, config=run.config, thresholds=thresholds)
    for row, confusion in ahead.map(score, _localized(run, samples)):
        run.rows.append(row)
        run.pooled += confusion
        run.tick()


def _prepared(pair: ImagePair, *, protocol: EvaluationProtocol) -> Sample | SkippedItem:
    sample = read_sample(pair)
    return sample if isinstance(sample, SkippedItem) else prepare_sample(sample, protocol)


def _localized(run: _Run, samples: Iterable[Sample | SkippedItem]) -> Iterator[tuple[Sample, NDArray[np.float32]]]:
    """Yield each image with its score map; those that could not be decoded are recorded as skipped."""
    for sample in samples:
        if isinstance(sample, SkippedItem):
            run.skipped.append(sample)
            run.tick()
        else:
            yield sample, localize_at_mask_size(run.localizer, sample.image, sample.mask.shape)


def _score(
    located: tuple[Sample, NDArray[np.float32]], *, config: EvalConfig, thresholds: Thresholds | None
) -> tuple[ImageRow, Confusion]:
    sample, score_map = located
    figures: dict[str, float | None] = {}
    confusion = Confusion()
    if thresholds is not None:
        figures, confusion = pixel_figures(score_map, sample.mask, thresholds.figures)
    return row_of(sample, score_map, config, figures=figures), confusion


def _thresholds(evidence: Sequence[float], config: EvalConfig, model: ModelFacts) -> Thresholds:
    rate = config.false_positive_rate
    if evidence:
        at_rate: float | None = threshold_at_rate(evidence, rate=rate)
    else:
        at_rate = model.thresholds.get(rate)
    return Thresholds(rate=rate, at_rate=at_rate, model=model.threshold, authentic=len(evidence))


def _counts(run: _Run, *, listed: int, resized: int) -> Counts:
    authentic = sum(row.authentic for row in run.rows)
    return Counts(
        listed=listed,
        tampered=len(run.rows) - authentic,
        authentic=authentic,
        skipped=len(run.skipped),
        resized_masks=resized,
    )


def _published(protocol: EvaluationProtocol, dataset: LoadedSet) -> tuple[PublishedRow, ...]:
    """Return the peers' figures that this protocol may stand beside."""
    if protocol.comparable is None or dataset.facts is None:
        return ()
    return published_rows(protocol.comparable, dataset.facts.name)
