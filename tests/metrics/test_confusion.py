"""Counts of pixels, and the figures made of them, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nclforensics.errors import ShapeError
from nclforensics.metrics.confusion import Confusion, confusion_at


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    share=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    t=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_confusion_figures_equal_scikit_learn(seed: int, share: float, t: float) -> None:
    """F1, IoU, accuracy and MCC at a threshold that some scores equal, degenerate tables included."""
    generator = np.random.default_rng(seed)
    scores = np.asarray(generator.integers(0, 9, (9, 13)) / 8, dtype=np.float32)
    mask = generator.random((9, 13)) < share
    truth, predicted = mask.ravel(), (scores > np.float64(t)).ravel()
    counts = confusion_at(scores, mask, threshold=t)
    expected = sk.confusion_matrix(truth, predicted, labels=[False, True]).ravel().tolist()
    assert expected == [counts.true_negative, counts.false_positive, counts.false_negative, counts.true_positive]
    assert counts.f1 == pytest.approx(sk.f1_score(truth, predicted, zero_division=0))
    assert counts.iou == pytest.approx(sk.jaccard_score(truth, predicted, zero_division=0))
    assert counts.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    if len(set(truth)) > 1:
        assert counts.mcc == pytest.approx(sk.matthews_corrcoef(truth, predicted))
    assert counts.inverted.f1 == pytest.approx(sk.f1_score(~truth, ~predicted, zero_division=0))
    assert counts.complement.f1 == pytest.approx(sk.f1_score(truth, ~predicted, zero_division=0))


def test_only_scored_pixels_count() -> None:
    """A table of the scored pixels alone."""
    scores = np.array([[0.9, 0.9, 0.1, 0.1]], dtype=np.float32)
    mask, scored = np.array([[True, False, True, False]]), np.array([[True, True, False, True]])
    counts = confusion_at(scores, mask, threshold=0.5, scored=scored)
    assert Confusion(true_positive=1, false_positive=1, true_negative=1) == counts
    assert (counts.tampered, counts.total) == (1, 3)


def test_empty_table_has_no_figure_above_zero() -> None:
    """Nothing counted: 0, never a division by zero."""
    assert (Confusion().f1, Confusion().iou, Confusion().mcc, Confusion().accuracy) == (0.0, 0.0, 0.0, 0.0)


def test_mcc_of_huge_images_does_not_overflow() -> None:
    """The product of four pixel counts of a gigapixel image exceeds 64 bits."""
    assert Confusion(5 * 10**8, 0, 0, 5 * 10**8).mcc == pytest.approx(1.0)


def test_pooled_counts_add_up() -> None:
    """Pooling is addition of the tables."""
    assert Confusion(11, 22, 33, 44) == Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40)


def test_shapes_must_agree() -> None:
    """A transposed mask is an error, not a broadcast."""
    with pytest.raises(ShapeError):
        confusion_at(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.bool_), threshold=0.5)
