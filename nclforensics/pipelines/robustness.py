"""How the figures change when the images are degraded first: every level of every degradation, on the same images.

The headline threshold stays the one of the undegraded images, since whoever uses a tool does not know what a photo went
through; so the false alarms may rise above the rate that it was set for, and that is part of the result.
"""

from __future__ import annotations

import dataclasses
import random
from functools import partial
from typing import TYPE_CHECKING

from nclforensics.errors import UnreadableImageError
from nclforensics.metrics.figures import pixel_figures
from nclforensics.pipelines.degradations import DEGRADATIONS, Degradation, Level
from nclforensics.pipelines.evaluation_stream import (
    Sample,
    WorkAhead,
    localize_at_mask_size,
    prepare_sample,
    read_sample,
    row_of,
)
from nclforensics.pipelines.evaluation_tables import flag_rate, headline_name, mean_measure
from nclforensics.pipelines.protocols import protocol_named
from nclforensics.reports.document import DegradationText, Robustness, RobustnessPoint, SkippedItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.data.manifest import ImagePair
    from nclforensics.pipelines.evaluation_stream import ImageLocalizer
    from nclforensics.pipelines.evaluation_tables import Thresholds
    from nclforensics.pipelines.protocols import EvaluationProtocol
    from nclforensics.reports.document import ImageRow

Task = tuple[Degradation, Level, Sample]


def measure_robustness(
    pairs: Sequence[ImagePair],
    localizer: ImageLocalizer,
    config: EvalConfig,
    *,
    rows: Sequence[ImageRow],
    thresholds: Thresholds,
    stages: Callable[[str, int], Callable[[], None]],
) -> Robustness:
    """Measure the same images at every level of every degradation.

    Args:
        pairs: The images of the set, those of `rows` among them.
        localizer: Gives the score maps.
        config: How to measure, and on how many images of each kind at most.
        rows: The undegraded images as they were measured, in the order of the set.
        thresholds: Those of the undegraded images.
        stages: As in `nclforensics.pipelines.evaluate.run_evaluation`; a step is one image at one level.

    Raises:
        UnreadableImageError: If an image that was measured before cannot be read any more.
    """
    plain = _subset(rows, limit=config.robustness_limit, seed=config.seed)
    by_path = {str(pair.image): pair for pair in pairs}
    chosen = [by_path[row.image] for row in plain]
    levels = [(degradation, level) for degradation in DEGRADATIONS for level in degradation.levels]
    tick = stages("robustness", len(chosen) * len(levels))
    protocol = protocol_named(config.protocol)
    found: dict[tuple[str, str], list[ImageRow]] = {
        (degradation.family, level.label): [] for degradation, level in levels
    }
    with WorkAhead() as ahead:
        tasks = (
            (degradation, level, sample)
            for sample in _readable(ahead.map(read_sample, chosen))
            for degradation, level in levels
        )
        degraded = ahead.map(partial(_degraded, protocol=protocol), tasks)
        located = ((task, localize_at_mask_size(localizer, task[2].image, task[2].mask.shape)) for task in degraded)
        for (degradation, level, _), row in ahead.map(partial(_score, config=config, thresholds=thresholds), located):
            found[degradation.family, level.label].append(row)
            tick()
    point = partial(_point, config=config, thresholds=thresholds)
    return Robustness(
        subset=_subset_text(plain, rows, config),
        degradations=tuple(DegradationText(item.family, item.title, item.definition) for item in DEGRADATIONS),
        points=(point("none", "", plain), *(point(family, level, group) for (family, level), group in found.items())),
    )


def _subset(rows: Sequence[ImageRow], *, limit: int, seed: int) -> list[ImageRow]:
    """Return at most `limit` tampered and as many authentic images, drawn at random but in the order given."""
    chosen: set[str] = set()
    for authentic in (False, True):
        names = [row.image for row in rows if row.authentic is authentic]
        chosen.update(random.Random(seed).sample(names, limit) if 0 < limit < len(names) else names)
    return [row for row in rows if row.image in chosen]


def _subset_text(plain: Sequence[ImageRow], rows: Sequence[ImageRow], config: EvalConfig) -> str:
    authentic = sum(row.authentic for row in plain)
    measured = f"{len(plain) - authentic} tampered and {authentic} authentic images at every level"
    if len(plain) == len(rows):
        return f"{measured}: all that were measured"
    return f"{measured}: at most {config.robustness_limit} of each kind, drawn with seed {config.seed}"


def _readable(samples: Iterable[Sample | SkippedItem]) -> Iterator[Sample]:
    for sample in samples:
        if isinstance(sample, SkippedItem):
            raise UnreadableImageError(f"{sample.image} changed during the evaluation. {sample.reason}")
        yield sample


def _degraded(task: Task, *, protocol: EvaluationProtocol) -> Task:
    degradation, level, sample = task
    image, mask = level.apply(sample.image, sample.mask, sample.sha256)
    return degradation, level, prepare_sample(dataclasses.replace(sample, image=image, mask=mask), protocol)


def _score(
    located: tuple[Task, NDArray[np.float32]], *, config: EvalConfig, thresholds: Thresholds
) -> tuple[Task, ImageRow]:
    task, score_map = located
    sample = task[2]
    # A small region may vanish when the image shrinks: then there is nothing to find, and every figure is None.
    figures, _ = pixel_figures(score_map, sample.mask, thresholds.figures)
    return task, row_of(sample, score_map, config, figures=figures)


def _point(
    family: str, level: str, rows: Sequence[ImageRow], *, config: EvalConfig, thresholds: Thresholds
) -> RobustnessPoint:
    tampered = [row for row in rows if not row.authentic]
    names = dict.fromkeys((headline_name(config, thresholds), f"f1@{thresholds.label}", "f1@0.5", "pixel_auc"))
    flags = None
    if thresholds.at_rate is not None:
        groups = [[row.evidence for row in rows if row.authentic is kind] for kind in (True, False)]
        undegraded = family == "none" and bool(thresholds.authentic)
        flags = flag_rate(thresholds.label, thresholds.at_rate, *groups, set_here=undegraded)
    return RobustnessPoint(
        family, level, tuple(mean_measure(name, tampered, config, thresholds) for name in names), flags
    )
