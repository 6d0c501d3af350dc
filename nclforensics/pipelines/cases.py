"""Best, median and worst images of an evaluation as pictures: the figures of a set hide what the maps look like."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.metrics.regions import float32_at_most
from nclforensics.pipelines.evaluation_stream import Sample, localize_at_mask_size, prepare_sample, read_sample
from nclforensics.pipelines.protocols import protocol_named
from nclforensics.reports.document import Case
from nclforensics.reports.overlay import color_prediction, color_score_map, outline_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.data.manifest import ImagePair
    from nclforensics.pipelines.evaluation_stream import ImageLocalizer
    from nclforensics.reports.document import EvaluationReport

OF_EACH_KIND: Final = 2
FOLDER: Final = "cases"
_LONGEST_SIDE: Final = 640  # pixels of a picture: sharp at its size on a page, and a page stays a few megabytes
_JPEG_QUALITY: Final = 85


def draw_cases(
    report: EvaluationReport, pairs: Sequence[ImagePair], localizer: ImageLocalizer, config: EvalConfig
) -> tuple[EvaluationReport, dict[str, bytes]]:
    """Analyse the most telling images of a report again and draw them.

    Args:
        report: Without cases.
        pairs: The data set of the report.
        localizer: The one of the report.
        config: The one of the report.

    Returns:
        The report with its cases, and the content of every picture by the name of its file.
    """
    by_path = {str(pair.image): pair for pair in pairs}
    cases: list[Case] = []
    pictures: dict[str, bytes] = {}
    for number, case in enumerate(choose_cases(report), start=1):
        sample = read_sample(by_path[case.image])
        if not isinstance(sample, Sample):  # it could be read a moment ago: the figures stand, the picture is missing
            continue
        named = dataclasses.replace(case, picture=f"{FOLDER}/{number:02d}-{case.role.replace(' ', '-')}")
        cases.append(named)
        pictures |= _draw(
            named.picture, prepare_sample(sample, protocol_named(config.protocol)), localizer, case.threshold
        )
    return dataclasses.replace(report, cases=tuple(cases)), pictures


def choose_cases(report: EvaluationReport) -> list[Case]:
    """Return the best, median and worst tampered images by the headline figure, and the highest false alarms.

    Where the headline is undefined, the f1 at the model's threshold decides. Ties are broken by the pixel AUC, then by
    the order of the set, so that the choice is the same every time.
    """
    figure = report.measures[0].name if report.measures[0].value is not None else "f1@model"
    threshold = _threshold_of(figure, report)
    ranked = [(value, row) for row in report.images if (value := row.figures.get(figure)) is not None]
    ranked.sort(key=lambda item: (-item[0], -(item[1].figures.get("pixel_auc") or 0.0)))
    alarms = [row for row in report.images if row.authentic and row.evidence > threshold]
    alarms.sort(key=lambda row: -row.evidence)
    chosen = [(role, ranked[place]) for place, role in sorted(_places(len(ranked)).items())]
    return [
        *(Case(role, row.image, figure, value, threshold, "") for role, (value, row) in chosen),
        *(Case("false alarm", row.image, "evidence", row.evidence, threshold, "") for row in alarms[:OF_EACH_KIND]),
    ]


def _places(count: int) -> dict[int, str]:
    """Return which places of a ranking are shown, and as what; in a short one the worst matter most."""
    middle = max(0, (count - OF_EACH_KIND) // 2)
    places = dict.fromkeys(range(middle, min(middle + OF_EACH_KIND, count)), "median")
    places |= dict.fromkeys(range(min(OF_EACH_KIND, count)), "best")
    return places | dict.fromkeys(range(max(0, count - OF_EACH_KIND), count), "worst")


def _threshold_of(figure: str, report: EvaluationReport) -> float:
    """Return the threshold of a figure such as "f1@fpr5"; figures that name none are those at 0.5."""
    thresholds = {rate.name: rate.threshold for rate in report.flag_rates}
    return thresholds[figure.partition("@")[2] or "0.5"]


def _draw(name: str, sample: Sample, localizer: ImageLocalizer, threshold: float) -> dict[str, bytes]:
    score_map = localize_at_mask_size(localizer, sample.image, sample.mask.shape)
    prediction = score_map > float32_at_most(threshold)
    size = _picture_size(sample.mask.shape)
    mask = _reduced(sample.mask.astype(np.uint8), size, cv2.INTER_NEAREST_EXACT).astype(np.bool_)
    found = _reduced(prediction.astype(np.uint8), size, cv2.INTER_NEAREST_EXACT).astype(np.bool_)
    photo = outline_mask(_reduced(sample.image, size, cv2.INTER_AREA), mask)
    scores = np.asarray(cv2.resize(score_map, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return {
        f"{name}-photo.jpg": _encoded(photo, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]),
        f"{name}-scores.png": _encoded(color_score_map(scores), ".png", []),
        f"{name}-prediction.png": _encoded(color_prediction(found, mask), ".png", []),
    }


def _picture_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height of a picture, at most those of the image."""
    scale = min(1.0, _LONGEST_SIDE / max(shape))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _reduced(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), dtype=np.uint8)


def _encoded(pixels: NDArray[np.uint8], suffix: str, options: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done
    return content.tobytes()
