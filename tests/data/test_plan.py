"""What is drawn before a sample is forged, and the way back of pictures that were resized."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from nclforensics.config import ForgeConfig
from nclforensics.data.histories import decode_jpeg, jpeg_bytes
from nclforensics.data.plan import RESTORED_SCALES, draw_plan, restore
from tests.textures import make_texture

SIDE = 128
WEB = ForgeConfig(size=SIDE, camera=0.0, web=1.0, resized=1.0)


@pytest.mark.parametrize("side", [150, 205])
def test_a_picture_that_is_brought_back_has_blocks_of_8_pixels(side: int) -> None:
    """Saved, resized, brought back: neighbours differ most across the boundaries of the blocks, as they did once."""
    texture = np.asarray(cv2.GaussianBlur(make_texture(SIDE, SIDE), (0, 0), 1), np.uint8)
    saved = decode_jpeg(jpeg_bytes(texture, {"quality": 30, "colour_quality": 30, "subsampling": "4:2:0"}))
    resized = np.asarray(cv2.resize(saved, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    image, _ = restore(resized, np.zeros((side, side), np.bool_), size=SIDE)
    for lines in (image, image.transpose(1, 0, 2)):
        grey = lines.astype(np.float64).mean(axis=2)
        slope = np.diff(grey, axis=0)
        jumps = np.abs(slope[1:-1] - (slope[:-2] + slope[2:]) / 2)[:120].mean(axis=1)  # from pixel n + 1 to n + 2
        mean = jumps.reshape(-1, 8).mean(axis=0)
        assert mean.argmax() == 6  # from pixel 7 of a block to the next one's first
        assert mean.max() > 1.1 * np.delete(mean, 6).max()


@pytest.mark.parametrize("side", [88, 205])
def test_the_mask_stays_where_the_edit_is(side: int) -> None:
    """A bright ellipse and its mask lie on the same pixels after the way back."""
    picture, marked = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    for canvas, colour in ((picture, (255, 255, 255)), (marked, (1,))):
        cv2.ellipse(canvas, (side // 3, side // 2), (side // 5, side // 8), 20, 0, 360, colour, -1)
    image, mask = restore(picture, marked.astype(bool), size=SIDE)
    assert image.shape == (SIDE, SIDE, 3)
    assert np.count_nonzero((image[..., 0] > 127) != mask) <= 0.02 * np.count_nonzero(mask)


def test_restored_plans_had_the_samples_size_before_they_were_resized() -> None:
    """Before the edit: the canvas has the picture's side already; after it: the canvas has the sample's."""
    config = dataclasses.replace(WEB, restored=1.0)
    plans = [draw_plan(np.random.default_rng(seed), config, room=SIDE) for seed in range(200)]
    restored = [plan for plan in plans if plan.restored]
    assert len(restored) > 100
    for plan in restored:
        assert SIDE * RESTORED_SCALES[0] - 1 <= plan.ending.side <= SIDE * RESTORED_SCALES[1] + 1
        assert plan.ending.canvas == (plan.ending.side if plan.resized_before else SIDE)
        size, step = plan.opening_resize(np.random.default_rng(0), size=SIDE, room=SIDE)
        assert size == (SIDE, SIDE)
        assert (step is not None) == plan.resized_before
    kept = [plan for plan in plans if not plan.restored]
    assert all(plan.ending.last is not None and plan.ending.last["quality"] < 88 for plan in kept)


def test_adjusted_pictures_are_changed_as_a_whole_before_they_are_saved() -> None:
    """With the whole share every ending begins so, and none is brought back; a share of 0 draws nothing."""
    config = dataclasses.replace(WEB, restored=1.0, recompressed=0.5)
    for seed in range(60):
        plain, adjusted = (
            draw_plan(np.random.default_rng(seed), dataclasses.replace(config, adjusted=share), room=SIDE)
            for share in (0.0, 1.0)
        )
        assert plain == draw_plan(np.random.default_rng(seed), config, room=SIDE)
        first, *others = adjusted.ending.steps
        assert first["op"] in ("tone", "noise", "blur", "sharpen", "median")
        assert {step["op"] for step in others} <= {"jpeg"}
        assert not adjusted.restored


def test_pictures_were_an_avif_before_the_edit_or_are_one_after_it() -> None:
    """Half and half; three in ten of the latter are made JPEGs; none is brought back; a share of 0 draws nothing."""
    config = dataclasses.replace(WEB, restored=1.0, recompressed=0.5)
    plans = []
    for seed in range(400):
        plain, avif = (
            draw_plan(np.random.default_rng(seed), dataclasses.replace(config, avif=share), room=SIDE)
            for share in (0.0, 1.0)
        )
        assert plain == draw_plan(np.random.default_rng(seed), config, room=SIDE)
        assert not plain.avif_before
        assert not avif.restored
        stored = [step["op"] for step in avif.ending.steps].count("avif")
        assert stored == (not avif.avif_before)
        plans.append(avif)
    after = [plan.ending for plan in plans if not plan.avif_before]
    assert len(after) == pytest.approx(200, abs=40)
    assert all(ending.steps[-1]["op"] == "avif" for ending in after)
    saved = sum(ending.last is not None for ending in after)
    assert 0.15 * len(after) < saved < 0.35 * len(after)  # three tenths of those that were not lossless before
