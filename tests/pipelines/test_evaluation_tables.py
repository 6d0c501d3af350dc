"""From rows to tables: means, chance levels, image figures, protocol and warnings, each by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.config import EvalConfig
from nclforensics.errors import UsageError
from nclforensics.metrics.confusion import Confusion
from nclforensics.metrics.figures import NOSCORE_SHARE, figure_names
from nclforensics.pipelines.evaluation_tables import (
    ModelFacts,
    Thresholds,
    build_protocol,
    flag_rates,
    headline_name,
    mean_measure,
    measures,
    warnings_for,
)
from nclforensics.pipelines.protocols import PROTOCOLS
from nclforensics.reports.document import ImageRow

if TYPE_CHECKING:
    from nclforensics.reports.document import Measure

CONFIG = EvalConfig(bootstrap=50)
THRESHOLDS = Thresholds(rate=0.05, at_rate=0.4, model=0.6, authentic=20)
MODEL = ModelFacts(
    name="fake",
    sha256="ab" * 32,
    training={"kind": "data set CASIA v2", "set": "casiav2", "authentic": 0},
    threshold=0.6,
    thresholds={0.05: 0.45},
    min_region=0.005,
)
POOLED = Confusion(true_positive=30, false_positive=10, false_negative=10, true_negative=150)


def row(evidence: float, *, share: float = 0.0, authentic: bool = False, **figures: float | None) -> ImageRow:
    """Return a row; its maximum lies 0.1 above its evidence."""
    values: dict[str, float | None] = {}
    if not authentic:
        values = {name: figures.get(name.replace("@", "_at_"), 0.25) for name in figure_names("fpr5")}
    return ImageRow(
        image="x.png",
        authentic=authentic,
        width=10,
        height=10,
        sha256="",
        mask_sha256="",
        evidence=evidence,
        max_score=evidence + 0.1,
        tampered_share=share,
        figures=values,
    )


@pytest.fixture
def rows() -> list[ImageRow]:
    """Return two tampered images, one of them found, and four authentic ones, one of them flagged."""
    authentic = [row(evidence, authentic=True) for evidence in (0.1, 0.2, 0.45, 0.7)]
    first = row(0.8, share=0.2, f1_at_fpr5=0.9, noscore_tampered_share=0.1)
    return [first, *authentic, row(0.3, share=0.5, f1_at_fpr5=0.5, noscore_tampered_share=0.3)]


def named(found: tuple[Measure, ...], name: str) -> Measure:
    """Return the measure of that name."""
    return next(item for item in found if item.name == name)


@pytest.mark.parametrize(
    ("protocol", "headline"),
    [("native", "f1@fpr5"), ("mvss", "f1@0.5"), ("catnet", "f1@0.5"), ("trufor", "f1_noscore_permute")],
)
def test_headline_comes_first_and_nothing_is_lost(rows: list[ImageRow], protocol: Any, headline: str) -> None:  # noqa: ANN401
    """Every figure of every protocol is in the table, once."""
    config = replace(CONFIG, protocol=protocol)
    found = [item.name for item in measures(rows, config, THRESHOLDS, pooled=POOLED)]
    assert found[0] == headline == headline_name(config, THRESHOLDS)
    assert len(set(found)) == len(found)
    assert {name for name in figure_names("fpr5") if name != NOSCORE_SHARE} < set(found)
    assert NOSCORE_SHARE not in found


@pytest.mark.parametrize(
    ("name", "value", "chance"),
    [
        ("f1@fpr5", 0.7, (0.4 / 1.2 + 1 / 1.5) / 2),
        ("f1_permute", 0.25, (0.4 / 1.2 + 1 / 1.5) / 2),
        ("f1_macro", 0.25, 0.5),
        ("f1_noscore", 0.25, (0.2 / 1.1 + 0.6 / 1.3) / 2),
        ("f1_noscore_permute", 0.25, (0.2 / 1.1 + 0.6 / 1.3) / 2),
        ("iou@0.5", 0.25, 0.35),
        ("mcc@fpr5", 0.25, 0),
        ("pixel_auc", 0.25, 0.5),
        ("pixel_ap", 0.25, 0.35),
        ("f1_pooled@0.5", 60 / 80, 2 * 0.2 / 1.2),
        ("image_auc", 6 / 8, 0.5),
        ("image_accuracy@model", 4 / 6, 4 / 6),
        ("image_balanced_accuracy@model", (1 / 2 + 3 / 4) / 2, 0.5),
        ("image_f1@model", 2 / (2 + 1 + 1), 2 * (1 / 3) / (4 / 3)),
        ("image_auc_max", 6 / 8, 0.5),
        ("image_f1_mvss@0.5", 2 * 0.5 * 0.5 / 1, 0.5),
    ],
)
def test_measures_and_chance_levels_by_hand(rows: list[ImageRow], name: str, value: float, chance: float) -> None:
    """The two tampered images have 20 % and 50 % tampered pixels, 10 % and 30 % outside the border."""
    found = named(measures(rows, CONFIG, THRESHOLDS, pooled=POOLED), name)
    assert found.value == pytest.approx(value)
    assert found.chance == pytest.approx(chance)


def test_undefined_figures_leave_the_mean_and_its_chance(rows: list[ImageRow]) -> None:
    """The second image's region is all border: the mean is the first image's, n is 1."""
    narrow = row(0.3, share=0.5, f1_noscore=None, noscore_tampered_share=None)
    found = mean_measure("f1_noscore", [rows[0], narrow], CONFIG, THRESHOLDS)
    assert (found.value, found.count, found.interval) == (0.25, 1, None)
    assert found.chance == pytest.approx(0.2 / 1.1)


def test_image_figures_need_both_kinds(rows: list[ImageRow]) -> None:
    """Without authentic images accuracy would say nothing; it is undefined."""
    found = measures([item for item in rows if not item.authentic], CONFIG, THRESHOLDS, pooled=POOLED)
    image = [item for item in found if item.name.startswith("image")]
    assert len(image) == 6
    assert {(item.value, item.interval, item.count) for item in image} == {(None, None, 0)}


def test_flag_rates_are_by_evidence(rows: list[ImageRow]) -> None:
    """One authentic image above 0.5 and 0.6, two above 0.4."""
    found = flag_rates(rows, THRESHOLDS)
    assert [item.name for item in found] == ["0.5", "model", "fpr5"]
    assert [(item.authentic_flagged, item.tampered_flagged) for item in found] == [(1, 1), (1, 1), (2, 1)]
    assert [item.false_positive_interval is None for item in found] == [False, False, True]


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_protocol_is_told_whole(protocol: Any) -> None:  # noqa: ANN401 - a name of the Literal
    """Name, resize rule, threshold rule, averaging, authentic images and training are those of the protocol."""
    found = build_protocol(replace(CONFIG, protocol=protocol), MODEL, THRESHOLDS, dataset="coverage")
    meant = PROTOCOLS[protocol]
    assert found.name.startswith(f"{protocol}: {meant.title}")
    assert (found.resize_rule, found.averaging, found.authentic_images) == (
        meant.resize_rule,
        meant.averaging,
        meant.authentic_images,
    )
    assert ("0.5, fixed" in found.threshold_rule) == (meant.threshold == 0.5)
    assert "fpr5: 0.4, the smallest" in found.threshold_rule
    assert all(vars(found).values())


def test_training_is_compared_with_the_protocol_s() -> None:
    """One line says whether the published figures beside are of models trained alike."""
    config = replace(CONFIG, protocol="mvss")
    assert build_protocol(config, MODEL, THRESHOLDS, dataset="d").training_match.startswith("trained on the tampered")
    other = replace(MODEL, training={"kind": "forge: forgeries made from pristine photos"})
    assert "trained on other data" in build_protocol(config, other, THRESHOLDS, dataset="d").training_match


def test_unknown_protocol_is_refused(rows: list[ImageRow]) -> None:
    """A protocol that nobody defined has no figures."""
    config = replace(CONFIG, protocol="mine")  # type: ignore[arg-type]  # what a TOML check would refuse
    with pytest.raises(UsageError, match="mine"):
        measures(rows, config, THRESHOLDS, pooled=POOLED)


def test_empty_ground_truth_is_reported(rows: list[ImageRow]) -> None:
    """A tampered image with a mask that marks nothing is named as such, and an authentic one is not."""
    empty = replace(row(0.3), figures=dict.fromkeys(figure_names("fpr5")))
    notes = warnings_for([*rows, empty], CONFIG, MODEL, thresholds=THRESHOLDS, skipped=0)
    assert any(note.startswith("1 tampered images have a mask that marks nothing") for note in notes)
    assert not any(
        "marks nothing" in note for note in warnings_for(rows, CONFIG, MODEL, thresholds=THRESHOLDS, skipped=0)
    )
    assert named(measures([*rows, empty], CONFIG, THRESHOLDS, pooled=POOLED), "f1_pooled@0.5").count == 2


def test_resizing_protocols_warn_of_the_model_s_thresholds(rows: list[ImageRow]) -> None:
    """They were calibrated at native size."""
    for protocol, expected in (("native", False), ("mvss", True), ("trufor", False)):
        config = replace(CONFIG, protocol=protocol)  # type: ignore[arg-type]  # names of the Literal
        notes = warnings_for(rows, config, MODEL, thresholds=THRESHOLDS, skipped=0)
        assert any("native size" in note for note in notes) == expected, protocol
