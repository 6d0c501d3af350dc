"""A saving that every block shows: against the rule written out, at every quality, and after edits."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from nclforensics.data.quality.jpeg_coding import ijg_tables
from nclforensics.data.quality.sampling import luma_of
from nclforensics.data.quality.whole_saving import whole_saving
from tests.textures import make_texture, saved

FREQUENCIES = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2)]


def _by_the_rule(pixels: np.ndarray) -> int | None:  # noqa: C901 - one rule, read from top to bottom
    """Return the quality of a picture of up to 1024 pixels a side, whose grid starts at its corner, block by block."""
    luma, blocks = luma_of(pixels), {}
    for row in range(pixels.shape[0] // 8):
        for column in range(pixels.shape[1] // 8):
            part = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            if pixels[part].min() > 0 and pixels[part].max() < 255:
                spectrum = cv2.dct(luma[part])
                blocks[row, column] = {place: float(spectrum[place]) for place in FREQUENCIES}
    steps: dict[tuple[int, int], tuple[int, float]] = {}
    for place in FREQUENCIES:
        values = [round(abs(block[place]) * 4) / 4 for block in blocks.values() if abs(block[place]) <= 80.125]
        means = {}
        for step in range(2, 41):
            telling = [math.cos(2 * math.pi * value / step) for value in values if value > step / 2]
            means[step] = sum(telling) / len(telling) if len(telling) >= 30 else 0.0
        if max(means.values()) >= 0.25:
            largest = max(step for step, mean in means.items() if mean >= 0.75 * max(means.values()))
            steps[place] = largest, means[largest]
    if len(steps) < 4:
        return None
    tiles: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (row, column), block in blocks.items():
        for place, (step, mean) in steps.items():
            if step / 2 < abs(block[place]) < 80:
                shown = math.cos(2 * math.pi * block[place] / step)
                tiles.setdefault((row // 4, column // 4), []).append((shown, mean))
    telling_tiles = [tile for tile in tiles.values() if len(tile) >= 12]
    others = 0
    for tile in telling_tiles:
        shown, expected = sum(pair[0] for pair in tile), sum(pair[1] for pair in tile)
        others += expected - shown > 3.5 * math.sqrt(len(tile) / 2) and shown < expected / 2
    if others > len(telling_tiles) / 1000:
        return None
    ratios = {
        quality: np.mean([abs(math.log(ijg_tables()[quality - 1][place] / step)) for place, (step, _) in steps.items()])
        for quality in range(1, 101)
    }
    return min(ratios, key=lambda quality: ratios[quality])


@pytest.mark.parametrize("qualities", [(), (60,), (85,), (92,), (70, 92), (50, 90), (88, 94)], ids=str)
@pytest.mark.parametrize("pasted", [0, 20, 40], ids="{}px pasted".format)
@pytest.mark.parametrize("softness", [0.1, 1.5, 3.0], ids="blur {}".format)
def test_it_is_the_rule(qualities: tuple[int, ...], pasted: int, softness: float) -> None:
    """As it is written out above: saved once, twice or never, with clipped pixels and a place that was not saved."""
    pixels = np.asarray(cv2.GaussianBlur(make_texture(200, 264, seed=5), (0, 0), softness), np.uint8)
    pixels[:40] = np.clip(pixels[:40].astype(int) + 90, 0, 255)
    for quality in qualities:
        pixels = saved(pixels, quality)
    if pasted:
        patch = cv2.GaussianBlur(make_texture(pasted, pasted, seed=6), (0, 0), softness)
        pixels[67 : 67 + pasted, 90 : 90 + pasted] = patch
    assert whole_saving(pixels) == _by_the_rule(pixels)


def test_a_faint_place_is_found_too() -> None:
    """What tells is not its contrast, but coefficients between the steps."""
    pixels = saved(make_texture(200, 264, seed=5), 80)
    faint = 128 + 0.45 * (make_texture(64, 64, seed=6).astype(np.float32) - 128)
    pixels[64:128, 96:160] = np.rint(faint)
    assert whole_saving(pixels) is None
    assert _by_the_rule(pixels) is None


def test_a_few_frequencies_are_too_few() -> None:
    """A picture of upright stripes has coefficients at two of the eight."""
    stripes = np.repeat(make_texture(8, 512, seed=7)[:1], 256, axis=0)
    assert whole_saving(saved(stripes, 70)) is None
    assert whole_saving(saved(make_texture(256, 512, seed=7), 70)) is not None


@pytest.mark.parametrize("quality", [50, 60, 70, 75, 80, 85, 90])
def test_the_quality_of_the_saving_is_told(quality: int) -> None:
    """Of a picture that was not edited after it."""
    found = whole_saving(saved(make_texture(256, 256, seed=1), quality))
    assert found is not None
    assert abs(found - quality) <= 2


def test_a_picture_that_was_never_saved_shows_none() -> None:
    """Nor one saved with steps too small to be told."""
    pixels = make_texture(256, 256, seed=2)
    assert whole_saving(pixels) is None
    assert whole_saving(saved(pixels, 100)) is None


def test_what_was_pasted_after_the_saving_does_not_show_it() -> None:
    """Wherever it lies, unless all of it is saved again."""
    background, pasted = saved(make_texture(256, 256, seed=3), 80), make_texture(48, 48, seed=4)
    for top, left in ((0, 0), (100, 60), (208, 208)):
        edited = background.copy()
        edited[top : top + 48, left : left + 48] = pasted
        assert whole_saving(edited) is None
    assert whole_saving(saved(edited, 80)) == whole_saving(background)


def test_the_grid_may_start_anywhere() -> None:
    """It is looked for where it starts, and nowhere else."""
    cropped = np.ascontiguousarray(saved(make_texture(264, 264, seed=7), 70)[3:, 6:])
    assert whole_saving(cropped, (5, 2)) == 70
    assert whole_saving(cropped) is None


@pytest.mark.parametrize("shape", [(7, 200), (8, 8), (40, 40), (1, 1)], ids=str)
def test_too_small_a_picture_shows_none(shape: tuple[int, int]) -> None:
    """Too few blocks tell nothing."""
    assert whole_saving(saved(make_texture(*shape, seed=8), 60)) is None


def test_all_of_a_large_picture_is_looked_at() -> None:
    """Steps are told from windows; a place between them counts too, if it is a thousandth of the picture."""
    pixels = saved(make_texture(1536, 1536, seed=9), 75)
    assert whole_saving(pixels) == 74  # of equally near ones the lowest
    pixels[300:400, 300:400] = make_texture(100, 100, seed=10)
    assert whole_saving(pixels) is None
    pixels = saved(make_texture(1536, 1536, seed=9), 75)
    pixels[300:332, 300:332] = make_texture(32, 32, seed=10)
    assert whole_saving(pixels) == 74
