from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nclforensics.errors import ShapeError
from nclforensics.metrics.regions import evidence_score, regions_above
from nclforensics.results import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

EIGHT = np.ones((3, 3), dtype=int)


def slow_evidence(scores: NDArray[np.float32], min_region: float) -> float:
    """Try every value of the map as threshold, lowest first."""
    for value in np.unique(np.append(scores, np.float32(0))):
        labels, count = ndimage.label(scores > value, structure=EIGHT)
        if not count or np.bincount(labels.ravel())[1:].max() <= min_region * scores.size:
            return float(value)
    raise AssertionError


def random_map(seed: int, *, levels: int, blur: float) -> NDArray[np.float32]:
    """Return a map in [0, 1] with blobs and, for few levels, many ties."""
    noise = np.random.default_rng(seed).random((23, 31)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    spread = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.asarray(np.round(spread * levels) / levels, dtype=np.float32)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([1, 3, 10, 100_000]),
    blur=st.sampled_from([0.0, 1.0, 3.0]),
    min_region=st.sampled_from([0.0, 0.001, 0.005, 0.05, 0.4, 0.99]),
)
def test_evidence_score_equals_the_slow_loop(seed: int, levels: int, blur: float, min_region: float) -> None:
    """Bisection inside shrinking windows finds what trying all thresholds finds, to the last bit."""
    scores = random_map(seed, levels=levels, blur=blur)
    assert slow_evidence(scores, min_region) == evidence_score(scores, min_region=min_region)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0, 1), at_score=st.booleans())
def test_prediction_is_there_exactly_when_evidence_is_above(seed: int, threshold: float, at_score: bool) -> None:  # noqa: FBT001
    """Scan and calibration cannot disagree, even where the threshold is the evidence score itself."""
    scores = random_map(seed, levels=7, blur=1.0)
    evidence = evidence_score(scores, min_region=0.02)
    if at_score:
        threshold = evidence
    prediction, boxes = regions_above(scores, threshold=threshold, min_region=0.02)
    assert (evidence > threshold) == bool(prediction.any()) == bool(boxes)


def test_threshold_between_float32_and_float64() -> None:
    """A score of float32(0.3) lies above 0.3, by less than float32 can tell."""
    scores = np.full((4, 4), 0.3, dtype=np.float32)
    assert evidence_score(scores, min_region=0.1) > 0.3
    assert regions_above(scores, threshold=0.3, min_region=0.1)[0].all()


def test_regions_are_boxes_with_their_scores() -> None:
    """Largest first; what is too small is left out; diagonal neighbours belong together."""
    scores = np.zeros((10, 10), dtype=np.float32)
    scores[0:2, 0:3] = 0.75  # 6 pixels
    scores[5, 5] = scores[6, 6] = scores[7, 7] = scores[8, 8] = 0.5
    scores[8, 9] = 1.0  # joined over an edge: 5 pixels
    scores[0, 9] = 1.0  # 1 pixel
    prediction, boxes = regions_above(scores, threshold=0.25, min_region=0.04)
    assert [
        Region(x=0, y=0, width=3, height=2, area=6, mean_score=0.75, max_score=0.75),
        Region(x=5, y=5, width=5, height=4, area=5, mean_score=0.6, max_score=1.0),
    ] == boxes
    assert int(prediction.sum()) == 11


def test_region_of_exactly_the_limit_does_not_count() -> None:
    """The area must be exceeded."""
    scores = np.zeros((10, 10), dtype=np.float32)
    scores[0, :5] = 0.7
    scores[2::2, ::2] = 0.9  # single pixels: enough of them in all, no region
    assert evidence_score(scores, min_region=0.05) == 0.0
    assert not regions_above(scores, threshold=0.5, min_region=0.05)[1]
    assert evidence_score(scores, min_region=0.049) == pytest.approx(0.7)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_maps(value: float) -> None:
    """A map of zeros shows nothing, a map of ones shows everything below one."""
    assert value == evidence_score(np.full((5, 6), value, dtype=np.float32), min_region=0.005)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """A map has height and width."""
    with pytest.raises(ShapeError):
        evidence_score(np.zeros(shape, dtype=np.float32), min_region=0.005)
