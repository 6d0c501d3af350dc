"""Tests of the steps of a history."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nclforensics.data.histories import (
    DRAWS,
    NOISE_SIDE,
    Step,
    apply_step,
    decode_jpeg,
    draw_adjustment,
    draw_avif,
    draw_filter,
    draw_hard_light,
    draw_jpeg,
    draw_resize,
    draw_source_steps,
    jpeg_bytes,
)
from tests.photo_folders import make_photo


def jpeg_step(quality: int, **more: object) -> Step:
    """Return a JPEG saving without colour subsampling."""
    return {"op": "jpeg", "quality": quality, "colour_quality": quality, "subsampling": "4:4:4", **more}


@pytest.mark.parametrize("op", [*DRAWS, "avif", "jpeg"])
def test_step_changes_the_image_the_same_way_each_time_and_leaves_its_input(op: str) -> None:
    """A step is a pure function of image and record, and it does something."""
    image = make_photo()
    kept = image.copy()
    rng = np.random.default_rng(3)
    step = {**DRAWS, "avif": draw_avif, "jpeg": draw_jpeg}[op](rng)
    first = apply_step(image, step)
    again = apply_step(image, json.loads(json.dumps(step)))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(image, kept)
    assert not np.array_equal(first, image)


def test_jpeg_file_holds_the_pixels_of_the_step() -> None:
    """The bytes decode to what applying the step gives."""
    image, step = make_photo(), jpeg_step(80)
    content = jpeg_bytes(image, step)
    assert content.startswith(b"\xff\xd8")
    assert np.array_equal(decode_jpeg(content), apply_step(image, step))


def test_jpeg_colours_are_not_swapped() -> None:
    """A red image stays red."""
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 220
    assert apply_step(red, jpeg_step(95)).mean((0, 1)) == pytest.approx([220, 0, 0], abs=3)


def test_jpeg_grid_starts_at_its_phase() -> None:
    """Saving again on the same grid changes less than on another grid: the trace that the network is to learn."""
    once = apply_step(make_photo(128, 128), jpeg_step(60, phase=[3, 5]))

    def change(phase: list[int]) -> float:
        return float(np.abs(apply_step(once, jpeg_step(60, phase=phase)).astype(float) - once).mean())

    assert change([3, 5]) < 0.5 * min(change([0, 0]), change([5, 3]))


def test_colour_quality_changes_colour_and_not_brightness() -> None:
    """Another table for colour: brightness stays, colour loses."""
    image = make_photo()
    step = jpeg_step(90)
    plain, coarse = apply_step(image, step), apply_step(image, {**step, "colour_quality": 40})
    weights = np.array([0.299, 0.587, 0.114])
    brightness = np.abs((plain.astype(float) - coarse) @ weights).mean()
    colour = np.abs(plain.astype(float) - coarse).mean()
    assert colour > 1
    assert brightness < 0.6


def test_drawn_jpeg_stays_within_its_qualities() -> None:
    """Qualities lie in the given range and reach both ends' neighbourhood; every subsampling occurs."""
    rng = np.random.default_rng(0)
    steps = [draw_jpeg(rng, low=50, high=90) for _ in range(400)]
    qualities = [step["quality"] for step in steps]
    assert 50 <= min(qualities) <= 53
    assert 87 <= max(qualities) <= 90
    assert {step["subsampling"] for step in steps} == {"4:4:4", "4:2:2", "4:2:0"}


def test_avif_keeps_the_picture_the_better_the_higher_its_quality() -> None:
    """Colours stay where they are, shades come back to within a few levels, colour alone suffers from 4:2:0."""
    image = make_photo()
    step = {"op": "avif", "quality": 90, "subsampling": "4:4:4", "speed": 9}
    errors = [
        np.abs(apply_step(image, {**step, "quality": quality}).astype(int) - image).mean() for quality in (95, 70, 40)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert errors[0] < 3
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 220
    assert apply_step(red, step).mean((0, 1)) == pytest.approx([220, 0, 0], abs=3)
    full, half = (apply_step(image, {**step, "subsampling": name}).astype(int) for name in ("4:4:4", "4:2:0"))
    colour, colour_then, colour_half = (pixels[..., 0] - pixels[..., 2] for pixels in (full, image.astype(int), half))
    assert np.abs(colour_half - colour_then).mean() > 1.1 * np.abs(colour - colour_then).mean()


def test_drawn_avif_stays_within_its_qualities() -> None:
    """Qualities from 40 to 95, both samplings, and mostly the quickest encoder, in plain records."""
    steps = [draw_avif(np.random.default_rng(seed)) for seed in range(400)]
    assert json.loads(json.dumps(steps)) == steps
    assert {min(step["quality"] for step in steps), max(step["quality"] for step in steps)} == {40, 95}
    assert {step["subsampling"] for step in steps} == {"4:2:0", "4:4:4"}
    assert sum(step["speed"] == 9 for step in steps) == pytest.approx(340, abs=30)


def test_grey_noise_is_the_same_in_all_channels() -> None:
    """Noise in brightness only leaves the colour as it was; its spread is the sigma asked for."""
    flat = np.full((200, 200, 3), 128, np.uint8)
    noisy = apply_step(flat, {"op": "noise", "sigma": 5.0, "grey": True, "offset": [10, NOISE_SIDE - 1]}).astype(int)
    assert np.array_equal(noisy[:, :, 0], noisy[:, :, 2])
    assert noisy.std() == pytest.approx(5, rel=0.05)


def test_noise_covers_images_larger_than_its_field() -> None:
    """A canvas wider than the stored noise gets noise everywhere."""
    flat = np.full((20, NOISE_SIDE + 50, 3), 128, np.uint8)
    noisy = apply_step(flat, {"op": "noise", "sigma": 4.0, "grey": False, "offset": [0, 0]})
    assert noisy[:, NOISE_SIDE:].std() > 3


def test_drawn_filters_are_plain_records() -> None:
    """Every drawn step survives JSON unchanged, so that a recipe can be kept."""
    rng = np.random.default_rng(0)
    steps = [draw_filter(rng) for _ in range(100)] + [s for _ in range(100) for s in draw_source_steps(rng)]
    assert json.loads(json.dumps(steps)) == steps


def test_adjustments_cover_the_sliders_and_are_plain_records() -> None:
    """Gamma and blur to both ends of their ranges, noise and sharpness too; a change of gamma clips no level."""
    rng = np.random.default_rng(0)
    steps = [draw_adjustment(rng) for _ in range(600)]
    assert json.loads(json.dumps(steps)) == steps
    assert {step["op"] for step in steps} == {"tone", "noise", "blur", "sharpen", "median"}
    gammas = [step["gamma"] for step in steps if step["op"] == "tone" and step["gain"] == [1.0] * 3]
    sigmas = [step["sigma"] for step in steps if step["op"] == "blur"]
    for drawn, (low, high) in ((gammas, (0.4, 2.5)), (sigmas, (0.4, 3.0))):
        assert low <= min(drawn) < 1.2 * low
        assert high / 1.2 < max(drawn) <= high
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for gamma in (min(gammas), max(gammas)):
        levels = apply_step(ramp, {"op": "tone", "gamma": gamma, "gain": [1.0] * 3, "lift": [0.0] * 3})[0, :, 0]
        assert (levels[0], levels[-1]) == (0, 255)
        assert (levels == 255).sum() <= 3
        assert (np.diff(levels.astype(int)) >= 0).all()


def test_hard_light_clips_and_keeps_the_order_of_levels() -> None:
    """Of a ramp over all levels, at least a sixth ends in black or white, whatever is drawn; none get swapped."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    rng = np.random.default_rng(0)
    for _ in range(50):
        step = draw_hard_light(rng)
        lit = apply_step(ramp, json.loads(json.dumps(step)))[0].astype(int)
        assert (np.diff(lit, axis=0) >= 0).all()
        assert np.isin(lit, (0, 255)).mean() > 1 / 6


def test_resizing_gives_the_size_asked_for() -> None:
    """Smaller, larger, and in one of three cases not to the same shape; never more than there is room for."""
    rng = np.random.default_rng(0)
    drawn = [draw_resize(rng, (96, 64), room=120) for _ in range(200)]
    assert json.loads(json.dumps([step for _, step in drawn])) == [step for _, step in drawn]
    heights = np.array([before[0] for before, _ in drawn]) / 96
    stretched = [abs(before[0] / 96 - before[1] / 64) > 0.05 for before, _ in drawn if max(before) < 120]
    assert (heights.min() < 0.7, heights.max() == 120 / 96) == (True, True)
    assert 0.1 < np.mean(stretched) < 0.4
    before, step = drawn[0]
    assert apply_step(np.zeros((*before, 3), np.uint8), step).shape == (96, 64, 3)
