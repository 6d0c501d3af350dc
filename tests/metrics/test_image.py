from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from nclforensics.metrics.confusion import Confusion
from nclforensics.metrics.image import (
    balanced_accuracy,
    flagged_count,
    harmonic_f1,
    image_auc,
    image_confusion,
    sensitivity_and_specificity,
    threshold_at_rate,
)

SCORES = st.lists(st.integers(0, 8).map(lambda value: value / 8), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("evidence", "rate", "expected"),
    [
        ([i / 20 for i in range(20)], 0.05, 0.90),  # one of twenty may be flagged: 0.95 is, 0.90 is not
        ([i / 20 for i in range(20)], 0.10, 0.85),
        ([i / 20 for i in range(19)], 0.05, 0.90),  # none of nineteen may be flagged
        ([0.5] * 20, 0.05, 0.5),  # ties: flagging one would flag all
        ([i / 100 for i in range(100)], 0.29, 0.70),  # 0.29 * 100 is below 29 in floating point
        ([0.3], 1.0, 0.0),
    ],
)
def test_threshold_at_rate_by_hand(evidence: list[float], rate: float, expected: float) -> None:
    """The (k + 1)-th highest score, where k images may be flagged."""
    assert expected == threshold_at_rate(evidence, rate=rate)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]))
def test_threshold_at_rate_is_the_smallest(evidence: list[float], rate: float) -> None:
    """It keeps the rate, and no smaller candidate does."""
    found = threshold_at_rate(evidence, rate=rate)
    assert flagged_count(evidence, threshold=found) <= rate * len(evidence) + 1e-9
    for smaller in (value for value in [0.0, *evidence] if value < found):
        assert flagged_count(evidence, threshold=smaller) > rate * len(evidence)


@settings(max_examples=100, deadline=None)
@given(SCORES, SCORES)
def test_image_auc_equals_scikit_learn(authentic: list[float], tampered: list[float]) -> None:
    """Ties count half."""
    labels = [0] * len(authentic) + [1] * len(tampered)
    assert image_auc(authentic, tampered) == pytest.approx(roc_auc_score(labels, authentic + tampered))


def test_image_auc_needs_both_kinds() -> None:
    """Without authentic images there is nothing to be told apart."""
    assert image_auc([], [0.5]) is None
    assert image_auc([0.5], []) is None


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.0, 0.5, 0.875]))
def test_image_rates_equal_scikit_learn(authentic: list[float], tampered: list[float], t: float) -> None:
    """Images at the threshold itself are not flagged."""
    labels = [0] * len(authentic) + [1] * len(tampered)
    flagged = [score > t for score in authentic + tampered]
    counts = image_confusion(authentic, tampered, threshold=t)
    sensitivity, specificity = (recall_score(labels, flagged, pos_label=kind, zero_division=0) for kind in (1, 0))
    assert sensitivity_and_specificity(counts) == pytest.approx((sensitivity, specificity))
    assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(labels, flagged))
    total = sensitivity + specificity
    assert harmonic_f1(counts) == pytest.approx(2 * sensitivity * specificity / total if total else 0)


def test_mvss_image_f1_of_a_detector_that_flags_everything_is_zero() -> None:
    """The usual F1 of the tampered class does not show it."""
    everything = Confusion(true_positive=100, false_positive=100)
    assert (harmonic_f1(everything), balanced_accuracy(everything)) == (0, 0.5)
    assert everything.f1 == pytest.approx(2 / 3)


def test_image_rates_need_both_kinds() -> None:
    """Sensitivity without tampered images, or specificity without authentic ones, is undefined."""
    for counts in (Confusion(true_positive=3), Confusion(true_negative=3)):
        assert (balanced_accuracy(counts), harmonic_f1(counts)) == (None, None)
