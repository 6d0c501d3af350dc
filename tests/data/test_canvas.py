"""Tests of pasting on the canvas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.data.canvas import MARGIN, Canvas, Window, apart, blend, draw_window, padded, paste


def black_canvas(side: int = 60) -> Canvas:
    """Return a black canvas with nothing marked."""
    return Canvas(np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.bool_))


def pasted(seed: int, window: Window) -> tuple[Canvas, float]:
    """Paste a white square of 20 pixels with its margin; return the canvas and the feather drawn."""
    canvas = black_canvas()
    stencil = padded(np.full((20, 20), 255, np.uint8))
    patch = np.full((*stencil.shape, 3), 255, np.uint8)
    record = paste(canvas, np.random.default_rng(seed), patch=patch, stencil=stencil, window=window)
    return canvas, record["feather"]


@pytest.mark.parametrize("seed", range(8))
def test_mask_holds_the_pixels_of_at_least_half_the_weight(seed: int) -> None:
    """White pasted on black: marked is what became at least half white, whether the edge is hard or feathered."""
    canvas, _ = pasted(seed, Window(10, 12, 36, 36, 60))
    assert np.array_equal(canvas.mask, canvas.image[:, :, 0] >= 128)
    assert np.count_nonzero(canvas.mask) == pytest.approx(400, abs=16)


def test_both_kinds_of_edge_occur() -> None:
    """A hard edge has no grey pixels, a feathered one has."""
    results = [pasted(seed, Window(10, 12, 36, 36, 60)) for seed in range(12)]
    assert {feather > 0 for _, feather in results} == {False, True}
    for canvas, feather in results:
        grey = ((canvas.image > 0) & (canvas.image < 255)).any()
        assert grey == (feather > 0)


@pytest.mark.parametrize(("top", "left"), [(-18, 5), (40, 40), (-10, 45)], ids=["above", "corner", "upper right"])
def test_window_beyond_the_canvas_is_cut_off(top: int, left: int) -> None:
    """What sticks out is lost, the rest lands where it belongs."""
    canvas, _ = pasted(1, Window(top, left, 36, 36, 60))
    expected = np.zeros((60, 60), np.bool_)
    expected[max(0, top + MARGIN) : top + MARGIN + 20, max(0, left + MARGIN) : left + MARGIN + 20] = True
    assert np.mean(canvas.mask == expected) > 0.99


@pytest.mark.parametrize("seed", range(8))
def test_what_is_marked_beyond_the_canvas_changes_nothing_on_it(seed: int) -> None:
    """A thick part beyond the border with a thin one on the canvas: what changes lies near what is marked there."""
    canvas = black_canvas()
    stencil = np.zeros((40, 60), np.uint8)
    stencil[8:32, 8:30] = 255
    stencil[20, 30:52] = 255
    patch = np.full((*stencil.shape, 3), 255, np.uint8)
    paste(canvas, np.random.default_rng(seed), patch=patch, stencil=stencil, window=Window(10, -30, 40, 60, 60))
    near = cv2.dilate(canvas.mask.astype(np.uint8), np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)) > 0
    assert not (canvas.image.any(axis=2) & ~near).any()


def test_blend_without_weight_changes_nothing() -> None:
    """Where the weight is 0 the old pixels stay to the last digit."""
    canvas = Canvas(
        np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8), np.zeros((40, 40), np.bool_)
    )
    before = canvas.image.copy()
    patch = np.zeros((40, 40, 3), np.uint8)
    blend(canvas, patch=patch, weight=np.zeros((40, 40), np.uint8), window=Window(0, 0, 40, 40, 40))
    assert np.array_equal(canvas.image, before)
    assert not canvas.mask.any()


def test_window_inside_never_sticks_out() -> None:
    """With inside=True every window lies on the canvas; else some stick out, by less than half."""
    rng = np.random.default_rng(0)
    inside = [draw_window(rng, (30, 20), 60, inside=True) for _ in range(100)]
    free = [draw_window(rng, (30, 20), 60) for _ in range(100)]
    assert all(0 <= w.top <= 30 and 0 <= w.left <= 40 for w in inside)
    assert any(w.top < 0 or w.left < 0 for w in free)
    assert all(-15 < w.top < 45 and -10 < w.left < 50 for w in free)


def test_apart_means_a_quarter_shared_at_most() -> None:
    """Half shared is too much, a quarter is not, nothing shared is best."""
    window = Window(20, 20, 20, 20, 60)
    assert [apart([20, left], window) for left in (20, 30, 35, 40, 0)] == [False, False, True, True, True]
