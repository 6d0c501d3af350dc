from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.pipelines.degradations import DEGRADATIONS, Level
from tests.factories import make_image, make_mask

SHA256 = "0123456789abcdef" * 4
LEVELS = {(item.family, level.label): level for item in DEGRADATIONS for level in item.levels}
every_level = pytest.mark.parametrize("level", LEVELS.values(), ids=[" ".join(key) for key in LEVELS])


def level_of(family: str, label: str) -> Level:
    """Return a level by name."""
    return LEVELS[family, label]


def test_the_grid_of_imdl_benco_is_covered() -> None:
    """JPEG 50 to 100 in steps of 10; blur kernels and noise variances 3, 7, 11, 15, 19, 23."""
    labels = {item.family: {level.label for level in item.levels} for item in DEGRADATIONS}
    odd = (3, 7, 11, 15, 19, 23)
    assert labels["jpeg"] == {f"quality {quality}" for quality in range(50, 101, 10)}
    assert labels["blur"] == {f"kernel {kernel}" for kernel in odd}
    assert labels["noise"] == {f"variance {variance}" for variance in odd}


@every_level
def test_every_level_changes_pixels_only_and_repeatably(level: Level) -> None:
    """The same image gives the same result; inputs stay as they were; the mask has the image's size and kind."""
    image, mask = make_image(96, 128), make_mask(96, 128, box=(24, 24, 72, 96))
    before = image.copy(), mask.copy()
    first, first_mask = level.apply(image, mask, SHA256)
    second, _ = level.apply(image, mask, SHA256)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    assert first.dtype == np.uint8
    assert first_mask.dtype == np.bool_
    assert first.shape[:2] == first_mask.shape
    assert first.shape != image.shape or (first != image).any()
    assert first_mask.mean() == pytest.approx(mask.mean(), abs=0.02)


def test_noise_has_the_variance_named() -> None:
    """On mid-grey, where nothing is clipped: the variance, and a twelfth that rounding adds."""
    grey = np.full((300, 300, 3), 128, dtype=np.uint8)
    noisy, _ = level_of("noise", "variance 15").apply(grey, make_mask(300, 300), SHA256)
    assert noisy.astype(np.float64).var() == pytest.approx(15 + 1 / 12, rel=0.02)
    assert noisy.astype(np.float64).mean() == pytest.approx(128, abs=0.05)


def test_noise_is_that_of_the_image() -> None:
    """Another file has other noise; another level has the same noise, larger."""
    grey, mask = np.full((64, 64, 3), 128, dtype=np.uint8), make_mask(64, 64)
    weak, strong = (level_of("noise", f"variance {n}").apply(grey, mask, SHA256)[0] for n in (3, 23))
    other, _ = level_of("noise", "variance 23").apply(grey, mask, "f" * 64)
    offsets = [picture.astype(np.float64).ravel() - 128 for picture in (weak, strong, other)]
    assert np.corrcoef(offsets[0], offsets[1])[0, 1] > 0.95
    assert abs(np.corrcoef(offsets[1], offsets[2])[0, 1]) < 0.05


def test_blur_spreads_as_far_as_its_kernel() -> None:
    """A single white pixel becomes a spot of k x k pixels at most."""
    image = np.zeros((41, 41, 3), dtype=np.uint8)
    image[20, 20] = 255
    blurred, _ = level_of("blur", "kernel 7").apply(image, make_mask(41, 41), SHA256)
    rows, columns = np.nonzero(blurred[:, :, 0])
    assert 17 <= rows.min() <= rows.max() <= 23
    assert 17 <= columns.min() <= columns.max() <= 23
    assert np.count_nonzero(blurred[:, :, 0]) > 9


def test_gamma_by_hand() -> None:
    """64 of 255 squared is 16; black and white stay."""
    image = np.zeros((1, 3, 3), dtype=np.uint8)
    image[0, 1], image[0, 2] = 64, 255
    changed, _ = level_of("gamma", "gamma 2").apply(image, np.zeros((1, 3), dtype=np.bool_), SHA256)
    assert changed[0, :, 0].tolist() == [0, 16, 255]


def test_resize_takes_the_mask_along() -> None:
    """Half the sides, and the box at half its place."""
    mask = make_mask(96, 128, box=(24, 32, 48, 64))
    image, small = level_of("resize", "factor 0.5").apply(make_image(96, 128), mask, SHA256)
    assert image.shape == (48, 64, 3)
    np.testing.assert_array_equal(small, make_mask(48, 64, box=(12, 16, 24, 32)))


def test_social_chain_limits_the_longer_side() -> None:
    """A large photo is shrunk with its aspect kept; a small one is only recompressed."""
    level = level_of("social", "1080 px q65")
    large, mask = level.apply(make_image(900, 1440), make_mask(900, 1440), SHA256)
    assert (large.shape, mask.shape) == ((675, 1080, 3), (675, 1080))
    small_image = make_image(90, 144)
    small, _ = level.apply(small_image, make_mask(90, 144), SHA256)
    content = cv2.imencode(".jpg", small_image, [cv2.IMWRITE_JPEG_QUALITY, 65])[1]
    assert small.shape == small_image.shape
    assert np.abs(small.astype(int) - cv2.imdecode(content, cv2.IMREAD_COLOR)).mean() < 3
