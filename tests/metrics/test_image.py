from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nclforensics.metrics.image import flagged_count, image_auc, threshold_at_rate

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
