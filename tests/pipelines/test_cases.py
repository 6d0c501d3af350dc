from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.config import EvalConfig
from nclforensics.data.manifest import ImagePair
from nclforensics.pipelines.cases import choose_cases, draw_cases
from nclforensics.reports.document import FlagRate
from tests.evaluation_report import make_report
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.reports.document import EvaluationReport

AT_HALF = FlagRate("0.5", 0.5, 0, 0, None, None, 0, 0, None, None)


def report_of(values: list[float], *, authentic: tuple[float, ...] = ()) -> EvaluationReport:
    """Return a report whose tampered images have these f1@0.5, and whose authentic images this evidence."""
    report = make_report()
    tampered, plain = report.images
    rows = [
        dataclasses.replace(tampered, image=f"t{number}", figures={"f1@0.5": value, "pixel_auc": 0.5})
        for number, value in enumerate(values)
    ]
    rows += [dataclasses.replace(plain, image=f"a{number}", evidence=value) for number, value in enumerate(authentic)]
    return dataclasses.replace(report, images=tuple(rows), flag_rates=(AT_HALF,))


def chosen(report: EvaluationReport) -> list[tuple[str, str]]:
    """Return role and image of each case."""
    return [(case.role, case.image) for case in choose_cases(report)]


def test_best_median_and_worst_of_many() -> None:
    """Of 0.0, 0.1, ... 0.8: two at each end, two in the middle."""
    assert chosen(report_of([number / 10 for number in range(9)])) == [
        ("best", "t8"),
        ("best", "t7"),
        ("median", "t5"),
        ("median", "t4"),
        ("worst", "t1"),
        ("worst", "t0"),
    ]


@pytest.mark.parametrize(
    ("count", "roles"),
    [(0, []), (1, ["worst"]), (2, ["worst", "worst"]), (3, ["best", "worst", "worst"])],
)
def test_small_sets_show_each_image_once(count: int, roles: list[str]) -> None:
    """The worst come first: they are what a reader must see."""
    cases = chosen(report_of([0.5] * count))
    assert [role for role, _ in cases] == roles
    assert len({image for _, image in cases}) == count


def test_false_alarms_are_the_highest_above_the_threshold() -> None:
    """0.9 and 0.8 of five; 0.5 itself is not above."""
    cases = chosen(report_of([], authentic=(0.5, 0.8, 0.4, 0.9, 0.6)))
    assert cases == [("false alarm", "a3"), ("false alarm", "a1")]


def test_equal_figures_are_ordered_by_the_set() -> None:
    """Ties cannot move between runs."""
    assert chosen(report_of([0.0] * 6))[0] == ("best", "t0")


def test_threshold_is_that_of_the_figure() -> None:
    """A headline at the false-positive rate is drawn at that threshold, not at 0.5."""
    report = report_of([0.5])
    rate = dataclasses.replace(AT_HALF, name="fpr5", threshold=0.93)
    rows = tuple(dataclasses.replace(row, figures={"f1@fpr5": 0.25}) for row in report.images)
    headline = dataclasses.replace(report.measures[0], name="f1@fpr5")
    report = dataclasses.replace(report, images=rows, flag_rates=(AT_HALF, rate), measures=(headline,))
    assert [(case.figure, case.threshold) for case in choose_cases(report)] == [("f1@fpr5", 0.93)]


def test_pictures_show_mask_scores_and_verdict(tmp_path: Path) -> None:
    """Three pictures, reduced to 640 pixels, with the colours of hit, miss and false alarm in their places."""

    class Left:
        def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
            scores = np.zeros(image.shape[:2], dtype=np.float32)
            scores[:, : image.shape[1] // 2] = 1
            return scores

    image, mask = tmp_path / "t0.png", tmp_path / "m.png"
    cv2.imwrite(str(image), make_image(400, 800))
    cv2.imwrite(str(mask), make_mask(400, 800, box=(0, 0, 200, 800)).astype(np.uint8) * 255)
    report = report_of([0.5])
    report = dataclasses.replace(report, images=(dataclasses.replace(report.images[0], image=str(image)),))
    report, pictures = draw_cases(report, [ImagePair(image, mask, authentic=False)], Left(), EvalConfig())
    case = report.cases[0]
    assert set(pictures) == {f"{case.picture}-{end}" for end in ("photo.jpg", "scores.png", "prediction.png")}
    shown = {name: cv2.imdecode(np.frombuffer(content, np.uint8), 1) for name, content in pictures.items()}
    verdict = shown[f"{case.picture}-prediction.png"]
    assert verdict is not None
    assert verdict.shape == (320, 640, 3)
    corners = [verdict[y, x, ::-1].tolist() for y, x in ((0, 0), (0, 639), (319, 0), (319, 639))]
    assert corners == [[255, 255, 255], [0, 114, 178], [230, 159, 0], [0, 0, 0]]
