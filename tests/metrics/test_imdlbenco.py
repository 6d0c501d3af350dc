"""IMDL-BenCo's evaluators, as recorded by scripts/record_imdlbenco.py, give the same figures to 1e-6.

They differ by intent in two places. Its pixel AUC does not look at ties, so it depends on the order of the pixels
there. And a mask without tampered pixels has F1 0 and AUC 0 there, while both are undefined here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.figures import FigureThresholds, pixel_figures
from nclforensics.metrics.image import image_auc, image_confusion
from tests.reference.score_maps import MapCase, image_scores, map_cases

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "assets" / "imdlbenco_evaluators.json").read_text(encoding="utf-8")
)
THRESHOLDS = FigureThresholds(label="fpr5", at_rate=0.5, model=0.5)
CASES = map_cases()
SAME = {"PixelF1 origin": "f1@0.5", "PixelF1 double": "f1_permute", "PixelIOU origin": "iou@0.5"}


def test_every_case_is_recorded() -> None:
    """The record was made from these very cases."""
    assert [case.name for case in CASES] == list(RECORD["maps"])


@pytest.mark.parametrize("case", [case for case in CASES if case.mask.any()], ids=lambda case: case.name)
def test_pixel_figures_equal_imdlbenco_s(case: MapCase) -> None:
    """F1, the better of F1 and inverse F1, IoU and accuracy on random and degenerate maps."""
    figures, counts = pixel_figures(case.score_map, case.mask, THRESHOLDS)
    recorded = RECORD["maps"][case.name]
    for theirs, ours in SAME.items():
        assert figures[ours] == pytest.approx(recorded[theirs], abs=1e-6), ours
    assert counts.accuracy == pytest.approx(recorded["PixelAccuracy origin"], abs=1e-6)


def classes_tie(case: MapCase) -> bool:
    """Return whether a tampered and an authentic pixel have one score."""
    return np.intersect1d(case.score_map[case.mask], case.score_map[~case.mask]).size > 0


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.mask.any() and not case.mask.all() and not classes_tie(case)],
    ids=lambda case: case.name,
)
def test_pixel_auc_equals_imdlbenco_s(case: MapCase) -> None:
    """Wherever it is defined and does not depend on the order of tied pixels."""
    figures, _ = pixel_figures(case.score_map, case.mask, THRESHOLDS)
    assert figures["pixel_auc"] == pytest.approx(RECORD["maps"][case.name]["PixelAUC origin"], abs=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if not case.mask.any()], ids=lambda case: case.name)
def test_f1_of_an_empty_mask_is_zero_at_imdlbenco(case: MapCase) -> None:
    """So authentic images put into its pixel F1 pull the mean down, whatever the map; here they never enter."""
    assert RECORD["maps"][case.name]["PixelF1 origin"] == 0
    assert confusion_at(case.score_map, case.mask, threshold=0.5).f1 == 0
    assert pixel_figures(case.score_map, case.mask, THRESHOLDS)[0]["f1@0.5"] is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_image_figures_equal_imdlbenco_s(seed: int) -> None:
    """F1 of the tampered class, AUC with ties, accuracy."""
    scores, labels = image_scores(seed)
    groups = [[score for score, label in zip(scores, labels, strict=True) if label == kind] for kind in (0, 1)]
    counts = image_confusion(*groups, threshold=0.5)
    recorded = RECORD["images"][str(seed)]
    assert counts.f1 == pytest.approx(recorded["ImageF1"], abs=1e-6)
    assert counts.accuracy == pytest.approx(recorded["ImageAccuracy"], abs=1e-6)
    assert image_auc(*groups) == pytest.approx(recorded["ImageAUC"], abs=1e-6)
