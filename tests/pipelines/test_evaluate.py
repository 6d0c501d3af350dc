from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.config import EvalConfig
from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import NoReadableImageError
from nclforensics.pipelines.evaluate import run_evaluation
from nclforensics.pipelines.evaluation_tables import ModelFacts
from nclforensics.reports.render_json import render_json
from nclforensics.reports.render_text import render_text
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nclforensics.reports.document import EvaluationReport, Measure

MODEL = ModelFacts(
    name="fake",
    sha256="ab" * 32,
    threshold=0.8,
    thresholds={0.05: 0.45},
    min_region=0.005,
)
CONFIG = EvalConfig(bootstrap=50)


class RedLocalizer:
    """Takes an image's red channel for the score map, so that a test writes the scores it wants."""

    def __init__(self) -> None:
        self.calls = 0

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return red / 255."""
        self.calls += 1
        return np.asarray(image[:, :, 0] / np.float32(255), dtype=np.float32)


def save(folder: Path, name: str, red: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> ImagePair:
    """Write an image with this red channel, and its mask if it is tampered."""
    pixels = make_image(*red.shape)
    pixels[:, :, 0] = red
    cv2.imwrite(str(folder / f"{name}.png"), pixels[:, :, ::-1])
    if mask is not None:
        cv2.imwrite(str(folder / f"{name}_mask.png"), mask.astype(np.uint8) * 255)
    return ImagePair(folder / f"{name}.png", folder / f"{name}_mask.png" if mask is not None else None, mask is None)


def flat(value: int) -> NDArray[np.uint8]:
    """Return a red channel of 10 x 10 pixels."""
    return np.full((10, 10), value, dtype=np.uint8)


def as_set(pairs: list[ImagePair]) -> LoadedSet:
    """Return the pairs as a data set of the user's own."""
    return LoadedSet(name="a set", root=Path("nowhere"), pairs=tuple(pairs))


def evaluate(pairs: list[ImagePair], *, config: EvalConfig = CONFIG) -> EvaluationReport:
    """Run with the fake model."""
    return run_evaluation(as_set(pairs), RedLocalizer(), config, model=MODEL)


def measure(report: EvaluationReport, name: str) -> Measure:
    """Return the measure of that name."""
    return next(item for item in report.measures if item.name == name)


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Return two tampered and twenty authentic images, mixed.

    The authentic ones score 0, 10, ... 190 of 255 all over: one of twenty may be flagged, so the threshold is the
    second highest, 180 / 255. Of the first tampered image the 20 tampered pixels score 200, 10 authentic ones 190 and
    the rest 0; of the second, the 50 tampered pixels score 150 and the rest 100.
    """
    first, second = flat(0), flat(100)
    first[0:2] = 200
    first[5] = 190
    second[0:5] = 150
    tampered = [
        save(tmp_path, "t1", first, make_mask(10, 10, box=(0, 0, 2, 10))),
        save(tmp_path, "t2", second, make_mask(10, 10, box=(0, 0, 5, 10))),
    ]
    authentic = [save(tmp_path, f"a{number}", flat(10 * number), None) for number in range(20)]
    return [tampered[0], *authentic, tampered[1]]


def test_headline_by_hand(pairs: list[ImagePair]) -> None:
    """At 180/255 the first image has 20 hits and 10 false alarms, F1 0.8; the second has no pixel above, F1 0."""
    report = evaluate(pairs)
    headline = report.measures[0]
    assert (headline.name, headline.count) == ("f1@fpr5", 2)
    assert headline.value == pytest.approx((0.8 + 0) / 2)
    assert headline.chance == pytest.approx((2 * 0.2 / 1.2 + 2 * 0.5 / 1.5) / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1@0.5", (0.8 + 1) / 2),
        ("f1@model", 0),  # 200 / 255 is below 0.8
        ("f1_best", 1),
        ("f1_permute", (0.8 + 1) / 2),
        ("f1_pooled@0.5", 140 / 150),
        ("iou@0.5", (2 / 3 + 1) / 2),
        ("iou@fpr5", 1 / 3),
        ("pixel_auc", 1),
        ("pixel_ap", 1),
        ("image_auc", (20 + 15.5) / 40),
    ],
)
def test_measures_by_hand(pairs: list[ImagePair], name: str, expected: float) -> None:
    """Each figure of the fixture's two tampered images, computed on paper."""
    assert measure(evaluate(pairs), name).value == pytest.approx(expected)


def test_false_alarms_by_hand(pairs: list[ImagePair]) -> None:
    """Twenty images at 0, 10, ... 190: seven exceed 0.5, none 0.8, one the threshold set for one in twenty."""
    rates = {rate.name: rate for rate in evaluate(pairs).flag_rates}
    counted = {name: (rate.authentic_flagged, rate.tampered_flagged) for name, rate in rates.items()}
    assert counted == {"0.5": (7, 2), "model": (0, 0), "fpr5": (1, 1)}
    assert rates["fpr5"].threshold == pytest.approx(180 / 255)
    assert rates["0.5"].false_positive_rate == 0.35
    assert rates["0.5"].false_positive_interval == pytest.approx((0.181, 0.567), abs=0.001)
    assert rates["fpr5"].false_positive_interval is None


def test_rows_keep_the_order_of_the_set(pairs: list[ImagePair]) -> None:
    """Authentic images are measured first, but listed where the set has them."""
    report = evaluate(pairs)
    assert [str(pair.image) for pair in pairs] == [row.image for row in report.images]
    assert (report.images[0].tampered_share, report.images[1].tampered_share) == (0.2, 0.0)


def test_without_authentic_images_the_model_s_threshold_is_used(pairs: list[ImagePair]) -> None:
    """And both the protocol and the warnings say so."""
    report = evaluate([pair for pair in pairs if not pair.authentic])
    assert report.measures[0].value == pytest.approx((0.8 + 1) / 2)  # at 0.45
    assert "the model's calibrated one" in report.protocol.threshold_rule
    assert any("no authentic images" in warning for warning in report.warnings)
    assert (measure(report, "image_auc").value, measure(report, "image_auc").count) == (None, 0)


def test_without_any_threshold_the_headline_is_undefined(pairs: list[ImagePair]) -> None:
    """No authentic images and no calibration at that rate: no number is made up."""
    tampered = [pair for pair in pairs if not pair.authentic]
    report = evaluate(tampered, config=EvalConfig(bootstrap=10, false_positive_rate=0.01))
    assert (report.measures[0].name, report.measures[0].value, report.measures[0].count) == ("f1@fpr1", None, 0)
    assert any("no threshold calibrated" in warning for warning in report.warnings)
    assert "f1@fpr1" in render_text(report)


def test_only_authentic_images_give_only_false_alarms(pairs: list[ImagePair]) -> None:
    """Pixel figures are undefined, not zero."""
    report = evaluate([pair for pair in pairs if pair.authentic])
    assert {None} == {item.value for item in report.measures}
    assert report.flag_rates[0].detection_rate is None
    assert "null" in render_json(report)


def test_few_authentic_images_are_pointed_out(pairs: list[ImagePair]) -> None:
    """Five images cannot show a rate of 5 %."""
    report = evaluate(pairs[:6])
    assert any("5 authentic images cannot resolve" in warning for warning in report.warnings)


def test_skipped_images_are_counted_and_listed(pairs: list[ImagePair]) -> None:
    """A broken image leaves one row less and one line more."""
    pairs[3].image.write_bytes(b"broken")
    report = evaluate(pairs)
    assert (
        report.counts.listed,
        report.counts.tampered,
        report.counts.authentic,
        report.counts.skipped,
    ) == (22, 2, 19, 1)
    assert [str(pairs[3].image)] == [item.image for item in report.skipped]


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    """An evaluation of nothing has no report."""
    pair = save(tmp_path, "a", flat(0), None)
    pair.image.write_bytes(b"")
    with pytest.raises(NoReadableImageError, match="Not one of 1 images"):
        evaluate([pair])


def test_report_is_repeatable(pairs: list[ImagePair]) -> None:
    """The same set gives the same bytes, but for the time stamp."""
    first, second = (evaluate(pairs) for _ in range(2))
    same_time = dataclasses.replace(second.origin, created=first.origin.created)
    assert render_json(first) == render_json(dataclasses.replace(second, origin=same_time))


def test_each_image_is_localized_once_and_every_step_is_counted(pairs: list[ImagePair]) -> None:
    """One pass over the images; the stages announce as many steps as they take, skipped images included."""
    announced: dict[str, int] = {}
    taken: Counter[str] = Counter()

    def stages(stage: str, steps: int) -> Callable[[], None]:
        announced[stage] = steps
        if stage == "measure":
            pairs[3].image.write_bytes(b"broken after the check")
        return lambda: taken.update([stage])

    localizer = RedLocalizer()
    report = run_evaluation(as_set(pairs), localizer, CONFIG, model=MODEL, stages=stages)
    assert (localizer.calls, report.counts.skipped) == (21, 1)
    assert announced == {"check": 22, "measure": 22} == taken


def test_origin_says_how_to_repeat_it(pairs: list[ImagePair]) -> None:
    """Command, settings, versions, and a digest that changes with the data but not with its order."""
    report = run_evaluation(as_set(pairs), RedLocalizer(), CONFIG, model=MODEL, command=["nclf", "eval"], device="cpu")
    origin = report.origin
    assert (origin.command, origin.device, origin.config["bootstrap"]) == (("nclf", "eval"), "cpu", 50)
    assert {"nclforensics", "python", "torch", "opencv"} <= origin.versions.keys()
    assert origin.data_sha256 == evaluate(pairs[::-1]).origin.data_sha256
    assert origin.data_sha256 != evaluate(pairs[1:]).origin.data_sha256


def test_warnings_of_the_data_set_are_in_the_report(pairs: list[ImagePair]) -> None:
    """What concerns the whole set word for word, what concerns single images counted; notes are left out."""
    anomalies = (
        Anomaly("count", "warning", "Two images are missing."),
        *(Anomaly("resized", "warning", "Scaled.", pair.image) for pair in pairs[:2]),
        Anomaly("ignored", "note", "Nobody needs this."),
    )
    dataset = dataclasses.replace(as_set(pairs), anomalies=anomalies)
    text = " ".join(run_evaluation(dataset, RedLocalizer(), CONFIG, model=MODEL).warnings)
    assert "Two images are missing." in text
    assert "2 x resized" in text
    assert "Nobody" not in text


def test_resizing_protocol_is_applied(pairs: list[ImagePair]) -> None:
    """Under mvss images are analysed and scored at 512 x 512, and the headline is f1@0.5."""
    sizes = []

    class Spy(RedLocalizer):
        def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
            sizes.append(image.shape)
            return super().localize(image)

    config = EvalConfig(bootstrap=10, protocol="mvss")
    report = run_evaluation(as_set(pairs[:2]), Spy(), config, model=MODEL)
    assert set(sizes) == {(512, 512, 3)}
    assert (report.measures[0].name, report.images[0].width) == ("f1@0.5", 10)


def test_published_rows_stand_only_beside_their_protocol(pairs: list[ImagePair]) -> None:
    """A known benchmark under mvss has peers; under native, or unknown, it has none."""
    facts = BenchmarkFacts("coverage", "COVERAGE", (), 2, 20, "", "", "", "", caveats=("Mind the gap.",))
    dataset = dataclasses.replace(as_set(pairs), facts=facts)
    report, native = (
        run_evaluation(dataset, RedLocalizer(), EvalConfig(bootstrap=10, protocol=name), model=MODEL)
        for name in ("mvss", "native")
    )
    assert {row.dataset for row in report.published} == {"coverage"}
    assert native.published == ()
    assert "Mind the gap." in report.warnings
