from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.errors import ShapeError, UsageError
from nclforensics.matching import copies, hypotheses
from nclforensics.matching.consensus import apply
from nclforensics.matching.copies import WORKING_THRESHOLD, find_copies
from tests.textures import make_texture

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 320
PATCH = np.s_[30:120, 40:140]
PLACE = np.s_[190:280, 180:280]


def _moved() -> NDArray[np.uint8]:
    image = make_texture(SIDE, SIDE).copy()
    image[PLACE] = image[PATCH]
    return image


def _altered(*, mirror: bool) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Paste a part turned by 20 degrees and enlarged by 1.15, or mirrored; return the map, too."""
    image = make_texture(SIDE, SIDE)
    if mirror:
        affine = np.array([[-1.0, 0, 310], [0, 1, 160]])
    else:
        affine = np.asarray(cv2.getRotationMatrix2D((90, 75), 20, 1.15), np.float64)
        affine[:, 2] += (130, 140)
    stencil = np.zeros((SIDE, SIDE), np.uint8)
    stencil[PATCH] = 255
    there = cv2.warpAffine(stencil, affine, (SIDE, SIDE)) > 127
    copy = cv2.warpAffine(image, affine, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
    return np.where(there[..., None], copy, image).astype(np.uint8), affine


def _saved(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    done, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def _overlap(prediction: NDArray[np.bool_], *places: tuple[slice, slice]) -> float:
    truth = np.zeros_like(prediction)
    for place in places:
        truth[place] = True
    return float((prediction & truth).sum() / (prediction | truth).sum())


def test_exact_copy_is_found_at_both_places() -> None:
    """The map marks source and copy nearly to the pixel, and the displacement is exact."""
    found = find_copies(_moved())
    best = found.regions[0]
    assert _overlap(found.score_map > WORKING_THRESHOLD, PATCH, PLACE) > 0.75
    move = apply(best.affine, np.zeros((1, 2)))[0]
    assert move.tolist() in ([140, 160], [-140, -160])
    assert best.correlation > 0.98
    assert {best.source[:2] < (150, 150), best.target[:2] < (150, 150)} == {True, False}


def _scores(**places: float) -> NDArray[np.float32]:
    """Return scores of another method: 0.1, and other values at the patch and at the place of its copy."""
    scores = np.full((SIDE, SIDE), 0.1, np.float32)
    scores[PATCH], scores[PLACE] = places["patch"], places["place"]
    return scores


@pytest.mark.parametrize("swapped", [False, True], ids=["the lower one", "the upper one"])
def test_more_suspicious_place_is_the_copy_and_marked_alone(*, swapped: bool) -> None:
    """Other scores say which place is the copy, whichever of them the match calls its source."""
    copy, original = (PATCH, PLACE) if swapped else (PLACE, PATCH)
    found = find_copies(_moved(), scores=_scores(patch=0.6 if swapped else 0.1, place=0.1 if swapped else 0.6))
    best = found.regions[0]
    assert _overlap(found.score_map > WORKING_THRESHOLD, copy) > 0.75
    assert not found.score_map[original].any()
    assert best.directed
    assert np.allclose(best.source, (original[1].start, original[0].start, 100, 90), atol=6)
    assert np.allclose(best.target, (copy[1].start, copy[0].start, 100, 90), atol=6)
    assert apply(best.affine, np.zeros((1, 2)))[0].tolist() == ([-140, -160] if swapped else [140, 160])


def test_original_is_marked_too_where_that_is_asked_for() -> None:
    """Some ground truth marks both places; which one is the copy is told all the same."""
    found = find_copies(_moved(), scores=_scores(patch=0.1, place=0.6), both_places=True)
    assert _overlap(found.score_map > WORKING_THRESHOLD, PATCH, PLACE) > 0.75
    assert found.regions[0].directed


def test_alike_places_are_both_marked() -> None:
    """Scores that hardly differ say nothing."""
    found = find_copies(_moved(), scores=_scores(patch=0.3, place=0.6))
    assert _overlap(found.score_map > WORKING_THRESHOLD, PATCH, PLACE) > 0.75
    assert not found.regions[0].directed


@pytest.mark.parametrize(("place", "found"), [(0.9, True), (0.45, False)])
def test_other_scores_confirm_a_weak_agreement(*, place: float, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A match that is no evidence by itself counts where the other method takes one place for tampered."""
    monkeypatch.setattr("nclforensics.matching.verification.evidence", lambda *_, **__: -2.0)
    result = find_copies(_moved(), scores=_scores(patch=0.05, place=place))
    assert result.regions[0].directed
    assert bool((result.score_map > WORKING_THRESHOLD).any()) == found


def test_scores_are_reduced_with_a_large_image() -> None:
    """The direction is the same, and boxes are in pixels of the image as it came."""
    image = np.asarray(cv2.resize(_moved(), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
    scores = np.asarray(cv2.resize(_scores(patch=0.1, place=0.9), (2 * SIDE, 2 * SIDE)), np.float32)
    best = find_copies(image, scores=scores, max_pixels=SIDE * SIDE).regions[0]
    assert best.directed
    assert np.allclose(best.target, (360, 380, 200, 180), atol=12)


@pytest.mark.parametrize("mirror", [False, True], ids=["turned and enlarged", "mirrored"])
def test_altered_copy_is_found_with_its_map(*, mirror: bool) -> None:
    """The estimated map is within half a pixel of the true one."""
    image, affine = _altered(mirror=mirror)
    found = find_copies(image)
    places = np.array([[60.0, 50.0], [120.0, 60.0], [90.0, 100.0]])
    best = found.regions[0].affine
    error = min(
        float(np.abs(apply(best, places) - apply(affine, places)).max()),
        float(np.abs(apply(best, apply(affine, places)) - places).max()),
    )
    assert error < 0.5
    assert found.regions[0].score > WORKING_THRESHOLD


@pytest.mark.parametrize("quality", [95, 80])
def test_compression_does_not_hide_a_copy(quality: int) -> None:
    """The detail of both places changes, but not all of it."""
    found = find_copies(_saved(_moved(), quality))
    assert _overlap(found.score_map > WORKING_THRESHOLD, PATCH, PLACE) > 0.5


def _windows(seed: int) -> NDArray[np.uint8]:
    """Return a wall with rows of like windows, none of them exactly like another, and texture over all of it."""
    rng = np.random.default_rng(seed)
    wall = np.full((SIDE, SIDE, 3), 150, np.uint8)
    for top in range(20, SIDE - 40, 60):
        for left in range(16, SIDE - 40, 56):
            corner = np.array([left, top]) + rng.uniform(-1, 1, 2)
            size = np.array([30, 40]) + rng.uniform(-1, 1, 2)
            frame = corner + size * [[0, 0], [0.5, 0], [0.5, 1], [0.5, 0], [1, 0], [1, 1], [0, 1]]
            points = [np.rint(16 * frame).astype(np.int32)]  # in sixteenths of a pixel
            cv2.fillPoly(wall, points, (60, 70, 80), cv2.LINE_AA, 4)
            cv2.polylines(
                wall, points, isClosed=True, color=(220, 220, 215), thickness=2, lineType=cv2.LINE_AA, shift=4
            )
    texture = make_texture(SIDE, SIDE, seed=seed).astype(np.float32) - 128
    return np.asarray(np.clip(cv2.GaussianBlur(wall.astype(np.float32), (0, 0), 0.8) + texture, 0, 255), np.uint8)


@pytest.mark.parametrize("quality", [None, 85])
def test_repetition_is_no_copy(quality: int | None) -> None:
    """Windows look alike, to a fraction of a pixel; the wall's texture does not."""
    image = _windows(0) if quality is None else _saved(_windows(0), quality)
    assert not (find_copies(image).score_map > WORKING_THRESHOLD).any()


def test_one_window_that_was_copied_is_found_among_the_others() -> None:
    """It repeats the texture, too."""
    image = _windows(1).copy()
    image[130:250, 10:100] = image[10:130, 178:268]
    found = find_copies(image).score_map > WORKING_THRESHOLD
    assert _overlap(found, np.s_[130:250, 10:100], np.s_[10:130, 178:268]) > 0.6


@pytest.mark.parametrize("height", [1, 31, 64])
def test_small_and_flat_images_are_empty(height: int) -> None:
    """They end as an empty map of their own size."""
    for image in (np.full((height, 70, 3), 128, np.uint8), make_texture(height, 70)):
        found = find_copies(image)
        assert found.score_map.shape == (height, 70)
        assert found.score_map.dtype == np.float32
        assert not found.score_map.any()


def test_equal_input_gives_equal_bytes_at_any_number_of_threads() -> None:
    """Nothing is drawn, summed or sorted in an order that a scheduler decides."""
    image, _ = _altered(mirror=False)
    threads = cv2.getNumThreads()
    results = []
    for count in (1, 2, 4):
        cv2.setNumThreads(count)
        results.append(find_copies(image))
    cv2.setNumThreads(threads)
    assert len({result.score_map.tobytes() for result in results}) == 1
    assert len({result.regions[0].affine.tobytes() for result in results}) == 1


@pytest.mark.parametrize("long", [False, True])
def test_large_image_is_examined_reduced(*, long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Map and boxes are those of the image as it came; OpenCV 4 warps no side of 32,767 pixels or more."""
    assert np.iinfo(np.int16).max > copies.LONGEST_SIDE
    look, sizes = hypotheses.find_hypotheses, []

    def watched(grey: NDArray[np.uint8], *, apart: float, reach: float) -> list[hypotheses.Hypothesis]:
        sizes.append(grey.shape)
        return look(grey, apart=apart, reach=reach)

    monkeypatch.setattr(copies, "find_hypotheses", watched)
    monkeypatch.setattr(copies, "LONGEST_SIDE", SIDE if long else 10 * SIDE)
    image = cv2.resize(_moved(), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_LANCZOS4)
    found = find_copies(np.asarray(image, np.uint8), max_pixels=SIDE * SIDE * (4 if long else 1))
    assert sizes == [(SIDE, SIDE)]
    assert found.score_map.shape == (2 * SIDE, 2 * SIDE)
    move = np.abs(apply(found.regions[0].affine, np.zeros((1, 2)))[0])
    np.testing.assert_allclose(move, [280, 320], atol=1)


def test_other_arrays_are_refused() -> None:
    """The message says what was expected."""
    with pytest.raises(ShapeError, match="uint8"):
        find_copies(np.zeros((40, 40), np.uint8))
    with pytest.raises(UsageError, match="max_pixels"):
        find_copies(np.zeros((40, 40, 3), np.uint8), max_pixels=10)
    with pytest.raises(ShapeError, match=r"\(40, 40\).*\(40, 41\)"):
        find_copies(np.zeros((40, 40, 3), np.uint8), scores=np.zeros((40, 41), np.float32))
