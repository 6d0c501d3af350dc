"""Confusion counts and threshold-free figures against scikit-learn and brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nclforensics.errors import ShapeError
from nclforensics.metrics.confusion import Confusion, confusion_at, inverted_confusion_at
from nclforensics.metrics.pixel import auc, average_precision, best_f1, chance_f1, chance_iou, level_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray


@st.composite
def maps(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw a score map on 16-bit levels, with ties, and a mask with at least one tampered pixel."""
    generator = np.random.default_rng(draw(st.integers(0, 100_000)))
    levels = draw(st.sampled_from([1, 4, 50, 65535]))
    share = draw(st.sampled_from([0.02, 0.3, 0.9, 1.0]))
    mask = generator.random((9, 13)) < share
    mask[0, 0] = True
    values = np.round(generator.random((9, 13)) * levels) / levels
    return np.asarray(np.round(values * 65535) / 65535, dtype=np.float32), mask


@settings(max_examples=80, deadline=None)
@given(maps(), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_confusion_figures_equal_scikit_learn(pair: tuple[NDArray[np.float32], NDArray[np.bool_]], t: float) -> None:
    """F1, IoU and MCC at a threshold, degenerate tables included."""
    scores, mask = pair
    truth, predicted = mask.ravel(), (scores > np.float64(t)).ravel()
    counts = confusion_at(scores, mask, threshold=t)
    expected = sk.confusion_matrix(truth, predicted, labels=[False, True]).ravel().tolist()
    assert expected == [counts.true_negative, counts.false_positive, counts.false_negative, counts.true_positive]
    assert counts.f1 == pytest.approx(sk.f1_score(truth, predicted, zero_division=0))
    assert counts.iou == pytest.approx(sk.jaccard_score(truth, predicted, zero_division=0))
    if len(set(truth)) > 1:
        assert counts.mcc == pytest.approx(sk.matthews_corrcoef(truth, predicted))


@settings(max_examples=80, deadline=None)
@given(maps())
def test_threshold_free_figures_equal_scikit_learn(pair: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    """AUC and average precision with ties; the AUC of an image without authentic pixels is undefined."""
    scores, mask = pair
    counts = level_counts(scores, mask)
    assert average_precision(counts) == pytest.approx(sk.average_precision_score(mask.ravel(), scores.ravel()))
    if mask.all():
        assert auc(counts) is None
    else:
        assert auc(counts) == pytest.approx(sk.roc_auc_score(mask.ravel(), scores.ravel()))


@settings(max_examples=40, deadline=None)
@given(maps())
def test_best_f1_equals_trying_all_thresholds(pair: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    """Every distinct score, and the prediction of everything, is a candidate."""
    scores, mask = pair
    thresholds = [-1.0, *np.unique(scores).tolist()]
    expected = max(sk.f1_score(mask.ravel(), (scores > np.float64(t)).ravel(), zero_division=0) for t in thresholds)
    assert best_f1(level_counts(scores, mask)) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(maps(), st.sampled_from([0.25, 0.5]))
def test_inverted_counts_are_those_of_one_minus_the_map(
    pair: tuple[NDArray[np.float32], NDArray[np.bool_]], t: float
) -> None:
    """The inverse is never rounded on the way."""
    scores, mask = pair
    predicted = 1 - scores.astype(np.float64) > t
    expected = sk.confusion_matrix(mask.ravel(), predicted.ravel(), labels=[False, True]).ravel().tolist()
    found = inverted_confusion_at(scores, mask, threshold=t)
    assert expected == [found.true_negative, found.false_positive, found.false_negative, found.true_positive]


def test_figures_of_an_empty_mask() -> None:
    """Nothing tampered: 0 or undefined, never a division by zero."""
    scores, mask = np.full((4, 5), 0.7, dtype=np.float32), np.zeros((4, 5), dtype=np.bool_)
    counts = level_counts(scores, mask)
    assert (auc(counts), average_precision(counts), best_f1(counts)) == (None, None, 0.0)
    assert (Confusion().f1, Confusion().iou, Confusion().mcc) == (0.0, 0.0, 0.0)


def test_mcc_of_huge_images_does_not_overflow() -> None:
    """The product of four pixel counts of a gigapixel image exceeds 64 bits."""
    assert Confusion(5 * 10**8, 0, 0, 5 * 10**8).mcc == pytest.approx(1.0)


def test_pooled_counts_add_up() -> None:
    """Pooling is addition of the tables."""
    assert Confusion(11, 22, 33, 44) == Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40)


def test_chance_levels_are_what_uninformed_maps_reach() -> None:
    """An all-ones map reaches the F1; the mean of random maps of the same area reaches the IoU."""
    generator = np.random.default_rng(0)
    mask = generator.random((200, 200)) < 0.2
    share = float(mask.mean())
    everything = confusion_at(np.ones(mask.shape, np.float32), mask, threshold=0.5)
    assert everything.f1 == pytest.approx(chance_f1(share))
    guess = np.asarray(generator.permutation(mask.ravel()).reshape(mask.shape), dtype=np.float32)
    assert confusion_at(guess, mask, threshold=0.5).iou == pytest.approx(chance_iou(share), abs=0.01)


def test_shapes_must_agree() -> None:
    """A transposed mask is an error, not a broadcast."""
    with pytest.raises(ShapeError):
        confusion_at(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.bool_), threshold=0.5)
    with pytest.raises(ShapeError):
        level_counts(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.bool_))
