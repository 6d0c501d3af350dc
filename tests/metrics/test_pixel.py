"""Threshold-free figures against scikit-learn and brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nclforensics.errors import ShapeError
from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.pixel import auc, average_precision, best_f1, chance_f1, level_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray


@st.composite
def maps(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw a score map, with many or no ties, on the whole scale or crowded at an end, and a mask that is not empty."""
    generator = np.random.default_rng(draw(st.integers(0, 100_000)))
    steps = draw(st.sampled_from([1, 4, 50, 2**24]))
    power = draw(st.sampled_from([1.0, 8.0, 0.001]))
    mask = generator.random((9, 13)) < draw(st.sampled_from([0.02, 0.3, 0.9, 1.0]))
    mask[0, 0] = True
    values = np.round(generator.random((9, 13)) * steps) / steps
    return np.asarray(values**power, dtype=np.float32), mask


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


@settings(max_examples=15, deadline=None)
@given(maps())
def test_best_f1_equals_trying_all_thresholds(pair: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    """Every distinct score, and the prediction of everything, is a candidate."""
    scores, mask = pair
    thresholds = [-1.0, *np.unique(scores).tolist()]
    expected = max(sk.f1_score(mask.ravel(), (scores > np.float64(t)).ravel(), zero_division=0) for t in thresholds)
    assert best_f1(level_counts(scores, mask)) == pytest.approx(expected)


def test_figures_of_an_empty_mask() -> None:
    """Nothing tampered: undefined, never a division by zero."""
    counts = level_counts(np.full((4, 5), 0.7, dtype=np.float32), np.zeros((4, 5), dtype=np.bool_))
    assert (auc(counts), average_precision(counts), best_f1(counts)) == (None, None, None)


def test_scores_far_below_a_bin_are_told_apart() -> None:
    """Rounding to 16 bits would make one level of all of these; a confident network's maps look like that."""
    scores = (np.arange(20, dtype=np.float32) * np.float32(1e-9)).reshape(4, 5)
    counts = level_counts(scores, scores > scores[2, 2])
    assert (auc(counts), average_precision(counts), best_f1(counts)) == (1.0, 1.0, 1.0)


def test_minus_zero_is_zero_and_scores_outside_are_clipped() -> None:
    """Two zeros tie, and so do 1 and what an interpolation made a little more than 1."""
    scores = np.array([[0.0, -0.0, 1.0, 1.0000001, -1e-7]], dtype=np.float32)
    mask = np.array([[True, False, False, True, False]])
    assert auc(level_counts(scores, mask)) == pytest.approx((0.5 + 0.5 + 0 + 1 + 1 + 0.5) / 6)


def test_chance_levels_are_what_uninformed_maps_reach() -> None:
    """An all-ones map reaches the F1, and by IoU the tampered share; no random map of a smaller area reaches more."""
    generator = np.random.default_rng(0)
    mask = generator.random((200, 200)) < 0.2
    share = float(mask.mean())
    everything = confusion_at(np.ones(mask.shape, np.float32), mask, threshold=0.5)
    assert everything.f1 == pytest.approx(chance_f1(share))
    assert everything.iou == pytest.approx(share)
    for area in (0.2, 0.6, 0.9):
        guess = np.asarray(generator.random(mask.shape) < area, dtype=np.float32)
        assert confusion_at(guess, mask, threshold=0.5).iou < share


def test_shapes_must_agree() -> None:
    """A transposed mask is an error, not a broadcast."""
    with pytest.raises(ShapeError):
        level_counts(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.bool_))
