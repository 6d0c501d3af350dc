"""All figures of an image together: against scikit-learn on random and degenerate maps; where they are undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sk

from nclforensics.errors import ShapeError
from nclforensics.metrics.confusion import Confusion
from nclforensics.metrics.figures import NOSCORE_SHARE, FigureThresholds, figure_names, pixel_figures
from tests.factories import make_mask
from tests.reference.score_maps import MapCase, map_cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLDS = FigureThresholds(label="fpr5", at_rate=0.3, model=0.8)
CASES = map_cases()


def f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Return scikit-learn's F1 of boolean arrays of any shape."""
    return float(sk.f1_score(truth.ravel(), predicted.ravel(), zero_division=0))


def expected_figures(case: MapCase) -> dict[str, float | None]:
    """Return every figure of an image with tampered pixels, by scikit-learn and scipy alone."""
    scores, mask = case.score_map.astype(np.float64), case.mask
    truth, half, rated = mask.ravel(), scores > 0.5, scores > 0.3
    scored = ndimage.minimum_filter(mask, 15) | ~ndimage.maximum_filter(mask, 11)
    inside = bool((mask & scored).any())
    both = bool(mask.any() and not mask.all())
    precision, recall, _ = sk.precision_recall_curve(truth, scores.ravel())
    return {
        "f1@fpr5": f1(mask, rated),
        "f1@0.5": f1(mask, half),
        "f1@model": f1(mask, scores > 0.8),
        "f1_best": float((2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()),
        "f1_permute": max(f1(mask, half), f1(mask, ~half)),
        "f1_macro": (f1(mask, half) + f1(~mask, ~half)) / 2,
        "f1_noscore": f1(mask[scored], half[scored]) if inside else None,
        "f1_noscore_permute": max(f1(mask[scored], half[scored]), f1(mask[scored], ~half[scored])) if inside else None,
        "iou@fpr5": float(sk.jaccard_score(truth, rated.ravel(), zero_division=0)),
        "iou@0.5": float(sk.jaccard_score(truth, half.ravel(), zero_division=0)),
        "mcc@fpr5": float(sk.matthews_corrcoef(truth, rated.ravel())) if both else 0.0,
        "mcc@0.5": float(sk.matthews_corrcoef(truth, half.ravel())) if both else 0.0,
        "pixel_auc": float(sk.roc_auc_score(truth, scores.ravel())) if both else None,
        "pixel_ap": float(sk.average_precision_score(truth, scores.ravel())),
        NOSCORE_SHARE: float(mask[scored].mean()) if inside else None,
    }


@pytest.mark.parametrize("case", [case for case in CASES if case.mask.any()], ids=lambda case: case.name)
def test_figures_equal_scikit_learn(case: MapCase) -> None:
    """Every figure, in the order of the report."""
    found, _ = pixel_figures(case.score_map, case.mask, THRESHOLDS)
    expected = expected_figures(case)
    assert list(found) == list(figure_names("fpr5")) == list(expected)
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


def test_mask_without_tampered_pixels_has_no_figures() -> None:
    """F1 would be 0 for any map: an image with an empty mask must not weigh on a mean, nor on the pooled table."""
    figures, counts = pixel_figures(np.ones((48, 64), np.float32), make_mask(box=None), THRESHOLDS)
    assert dict.fromkeys(figure_names("fpr5")) == figures
    assert Confusion() == counts


def test_without_a_threshold_its_figures_are_undefined() -> None:
    """No number is made up where neither the set nor the model gives a threshold."""
    thresholds = FigureThresholds(label="fpr5", at_rate=None, model=0.8)
    figures, _ = pixel_figures(np.ones((48, 64), np.float32), make_mask(box=(8, 8, 40, 40)), thresholds)
    assert {"f1@fpr5", "iou@fpr5", "mcc@fpr5"} == {name for name, value in figures.items() if value is None}


def test_narrow_regions_have_no_figures_outside_the_border() -> None:
    """A mask that is all border leaves nothing to find; the other figures stand."""
    figures, _ = pixel_figures(np.ones((48, 64), np.float32), make_mask(box=(8, 8, 22, 22)), THRESHOLDS)
    expected = {"f1_noscore", "f1_noscore_permute", NOSCORE_SHARE}
    assert expected == {name for name, value in figures.items() if value is None}


def test_figures_of_an_all_ones_map_are_the_chance_levels() -> None:
    """Marking everything: F1 2 f / (1 + f) wherever it is taken, also as the better half of a permuted F1."""
    mask = make_mask(100, 120, box=(10, 10, 60, 80))
    share = float(mask.mean())
    figures, _ = pixel_figures(np.ones(mask.shape, np.float32), mask, THRESHOLDS)
    for name in ("f1@fpr5", "f1@0.5", "f1@model", "f1_best", "f1_permute"):
        assert figures[name] == pytest.approx(2 * share / (1 + share)), name
    outside = figures[NOSCORE_SHARE]
    assert outside is not None
    assert figures["f1_noscore"] == pytest.approx(2 * outside / (1 + outside))
    assert (figures["mcc@0.5"], figures["pixel_auc"]) == (0, 0.5)
    assert figures["pixel_ap"] == pytest.approx(share)


def test_macro_f1_of_random_maps_is_a_half_and_no_share_beats_the_mask_s() -> None:
    """A random map of the mask's own area reaches 0.5 on average, one of another area less."""
    generator = np.random.default_rng(0)
    mask = make_mask(300, 300, box=(0, 0, 60, 300))

    def macro(share: float) -> float:
        guess = (generator.random(mask.shape) < share).astype(np.float32)
        value = pixel_figures(guess, mask, THRESHOLDS)[0]["f1_macro"]
        assert value is not None
        return value

    assert macro(0.2) == pytest.approx(0.5, abs=0.01)
    assert max(macro(0.02), macro(0.5), macro(0.9)) < 0.49


def test_shapes_must_agree() -> None:
    """A transposed mask is an error."""
    with pytest.raises(ShapeError):
        pixel_figures(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.bool_), THRESHOLDS)
