from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.histories import decode_jpeg, jpeg_bytes
from nclforensics.data.images import read_image
from nclforensics.data.quality import image_quality
from nclforensics.data.quality.levels import UNEVENNESS_LIMIT
from nclforensics.data.quality.sampling import GRID, windows
from nclforensics.results import QualityFacts
from tests.textures import make_texture

if TYPE_CHECKING:
    from pathlib import Path


def _facts(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> QualityFacts:
    return image_quality(b"", pixels, "PNG")


def test_jpeg_is_described_as_it_was_saved() -> None:
    """Quality, tables and subsampling are the file's, and JSON gives back what was written."""
    step = {"quality": 80, "colour_quality": 80, "subsampling": "4:2:2"}
    content = jpeg_bytes(make_texture(), step)
    facts = image_quality(content, decode_jpeg(content), "JPEG")
    described = (facts.jpeg_quality, facts.jpeg_standard_tables, facts.jpeg_subsampling, facts.jpeg_progressive)
    assert described == (80, True, "4:2:2", False)
    assert QualityFacts(**json.loads(json.dumps(dataclasses.asdict(facts)))) == facts


def test_lossless_original_has_no_hints() -> None:
    """A sharp picture that was never compressed or resized."""
    facts = _facts(make_texture())
    hints = (facts.earlier_jpeg_quality, facts.resampling_frequency)
    assert hints == (None, None)
    assert (facts.jpeg_quality, facts.upscaled, facts.near_uniform, facts.screenshot_like) == (
        None,
        False,
        False,
        False,
    )


def test_a_brightened_picture_has_changed_levels() -> None:
    """The fact, and the figure behind it."""
    brighter = cv2.LUT(make_texture(), np.rint(255 * (np.arange(256) / 255) ** 0.6).astype(np.uint8))
    facts = _facts(np.asarray(brighter, np.uint8))
    assert facts.levels_changed
    assert facts.level_unevenness is not None
    assert facts.level_unevenness > 2 * UNEVENNESS_LIMIT
    assert not _facts(make_texture()).levels_changed


def test_the_levels_of_a_webp_are_not_judged(tmp_path: Path) -> None:
    """Its brightness has 220 levels, which decoding spreads: of 40 photos saved so, 24 look changed."""
    path = tmp_path / "photo.webp"
    assert cv2.imwrite(str(path), make_texture(), [cv2.IMWRITE_WEBP_QUALITY, 90])
    image = read_image(path)
    facts = image_quality(path.read_bytes(), image.pixels, image.format)
    assert (facts.level_unevenness, facts.levels_changed) == (None, False)
    assert _facts(image.pixels).level_unevenness is not None


def test_enlarged_picture_is_upscaled_and_reduced_one_is_not() -> None:
    """Both were resized; only the first has empty detail."""
    picture = make_texture(512, 512)
    larger = cv2.resize(picture[:320, :320], None, fx=1.6, fy=1.6, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 25, picture.shape)
    sharp = np.clip(picture + noise, 0, 255).astype(np.uint8)
    smaller = _facts(np.asarray(cv2.resize(sharp, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_LINEAR), np.uint8))
    assert _facts(np.asarray(larger, np.uint8)).upscaled
    assert smaller.resampling_frequency is not None
    assert not smaller.upscaled


def test_photo_on_a_page_is_screenshot_like() -> None:
    """Surfaces of one colour and straight edges, together."""
    page = np.full((600, 800, 3), 255, np.uint8)
    page[100:484, 200:584] = make_texture()
    assert _facts(page).screenshot_like
    assert not _facts(page[110:470, 210:570]).screenshot_like


def test_overexposed_sun_is_no_screenshot() -> None:
    """A surface of one colour whose outline is not straight."""
    picture = cv2.circle(make_texture().copy(), (190, 190), 90, (255, 255, 255), cv2.FILLED)
    facts = _facts(np.asarray(picture, np.uint8))
    assert facts.flat_share > 0.05
    assert not facts.screenshot_like


def test_blank_picture_is_near_uniform() -> None:
    """No texture anywhere."""
    assert _facts(np.full((200, 200, 3), 90, np.uint8)).near_uniform


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (8, 8), (63, 65), (97, 2000)])
def test_every_size_is_measured(shape: tuple[int, int]) -> None:
    """However small or narrow, the facts are finite numbers."""
    facts = dataclasses.asdict(_facts(make_texture(*shape)))
    assert all(np.isfinite(value) for value in facts.values() if isinstance(value, float))


def test_large_pictures_are_sampled_on_the_grid() -> None:
    """At most 1024 x 1024 pixels are looked at, from the first to nearly the last, always the same ones."""
    pixels = np.zeros((3000, 5000, 3), np.uint8)
    parts = windows(pixels)
    starts = [
        divmod((part.ctypes.data - pixels.ctypes.data) // 3, 5000)  # row and column of a part's corner
        for part in parts
    ]
    assert sum(part.size for part in parts) == 1024 * 1024 * 3
    assert all(row % GRID == 0 and column % GRID == 0 for row, column in starts)
    assert starts[0] == (0, 0)
    assert starts[-1] == (3000 - 256 - (3000 - 256) % GRID, 5000 - 256 - (5000 - 256) % GRID)
