"""Tests of endings: what happens to the whole image after the edit."""

from __future__ import annotations

import numpy as np
import pytest

from nclforensics.data.endings import (
    ENDING_SHARES,
    OFF_GRID_SHARE,
    SHIFT,
    Ending,
    apply_ending,
    draw_ending,
    save,
    saved_again,
)
from tests.photo_folders import make_photo


def test_canvas_always_fits_the_host_and_gives_the_size() -> None:
    """For a host hardly larger than the sample too, the ending yields exactly size x size."""
    rng = np.random.default_rng(0)
    for room in (64, 70, 200):
        for _ in range(60):
            ending = draw_ending(rng, size=64, room=room)
            assert ending.canvas <= room
            image, mask = make_photo(ending.canvas, ending.canvas), np.zeros((ending.canvas,) * 2, np.bool_)
            image, mask = apply_ending(image, mask, ending, size=64)
            assert image.shape == (64, 64, 3)
            assert mask.shape == (64, 64)


@pytest.mark.parametrize(("canvas", "side"), [(200, 100), (80, 128)], ids=["smaller", "larger"])
def test_mask_is_resized_with_the_image(canvas: int, side: int) -> None:
    """A white square on black and its mask stay on the same pixels."""
    mask = np.zeros((canvas, canvas), np.bool_)
    mask[canvas // 4 : canvas // 2, canvas // 8 : canvas // 2 + 3] = True
    image = np.where(mask[:, :, None], 255, 0).repeat(3, 2).astype(np.uint8)
    ending = Ending("resized", canvas, side, "linear", corner=(5, 9))
    seen, marked = apply_ending(image, mask, ending, size=80)
    assert np.mean((seen[:, :, 0] > 127) == marked) > 0.99
    assert marked.any()


def test_sample_is_cut_off_the_grid_only_where_the_ending_says_so() -> None:
    """Most samples start where their JPEG grid starts, as real files do; crops and screenshots do not."""
    rng = np.random.default_rng(0)
    endings = [draw_ending(rng, size=64, room=200) for _ in range(800)]
    shifted = {ending.name for ending in endings if ending.corner != (0, 0)}
    assert shifted == {"cropped", "screenshot", "jpeg_twice"}
    assert max(max(ending.corner) for ending in endings) <= SHIFT
    assert np.mean([ending.corner == (0, 0) for ending in endings]) > 0.8


def test_endings_come_in_their_shares() -> None:
    """Each ending is drawn about as often as ENDING_SHARES says."""
    rng = np.random.default_rng(1)
    names = [draw_ending(rng, size=64, room=200).name for _ in range(1500)]
    shares = {name: names.count(name) / 1500 for name in ENDING_SHARES}
    assert shares == pytest.approx(ENDING_SHARES, abs=0.04)


def test_lossless_ending_keeps_the_pixels() -> None:
    """Without a last saving there are no bytes and no change."""
    image = make_photo(64, 64)
    saved, content = save(image, Ending("as_is", 64, 64))
    assert content is None
    assert np.array_equal(saved, image)


def test_saved_again_ends_with_one_more_jpeg() -> None:
    """The last saving has quality 50 to 90; the earlier one becomes a step, seldom on another grid than its own."""
    rng = np.random.default_rng(2)
    first = {"op": "jpeg", "quality": 95, "colour_quality": 95, "subsampling": "4:4:4"}
    ending = Ending("cropped", 80, 80, corner=(5, 9), last=first)
    again = [saved_again(rng, ending) for _ in range(400)]
    assert all(one.last is not None and 50 <= one.last["quality"] <= 90 for one in again)
    assert all({**one.steps[-1], "phase": 0} == {**first, "phase": 0} for one in again)
    own_grid = np.mean([one.steps[-1]["phase"] == [3, 7] for one in again])
    assert own_grid == pytest.approx(1 - OFF_GRID_SHARE, abs=0.08)
    assert saved_again(rng, Ending("as_is", 64, 64)).steps == []


def test_earlier_saving_keeps_its_grid() -> None:
    """As a step, before the sample is cut out, it leaves the pixels that it left as the last saving."""
    image, mask = make_photo(80, 80), np.zeros((80, 80), np.bool_)
    first = {"op": "jpeg", "quality": 70, "colour_quality": 70, "subsampling": "4:4:4"}
    once = Ending("cropped", 80, 80, corner=(5, 9), last=first)
    twice = Ending("cropped", 80, 80, corner=(5, 9), steps=[{**first, "phase": [3, 7]}])
    cut, _ = apply_ending(image, mask, once, size=64)
    assert np.array_equal(save(cut, once)[0], apply_ending(image, mask, twice, size=64)[0])
