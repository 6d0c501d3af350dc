from __future__ import annotations

import cv2
import numpy as np
import pytest

from nclforensics.data.quality.resampling import PEAK_LIMIT, SHORTEST_SIDE, resampling_peak, softness
from nclforensics.data.quality.sampling import luma_of
from tests.textures import make_texture


def test_picture_as_taken_has_no_peak() -> None:
    """No pixel was interpolated."""
    assert resampling_peak([luma_of(make_texture())])[0] < PEAK_LIMIT


@pytest.mark.parametrize(("factor", "frequency"), [(1.25, 0.2), (1.5, 1 / 3), (1.8, 4 / 9)])
def test_enlarged_picture_has_a_peak_at_its_period(factor: float, frequency: float) -> None:
    """Interpolated pixels return every `factor` pixels; above 0.5 the frequency is mirrored."""
    larger = cv2.resize(make_texture(320, 320), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    height, found = resampling_peak([luma_of(np.asarray(larger, np.uint8))])
    assert height > PEAK_LIMIT
    assert found == pytest.approx(frequency, abs=0.004)


def test_fence_is_no_resizing() -> None:
    """A period in one direction alone is something in the picture."""
    fence = make_texture().copy()
    fence[:, ::5] = cv2.GaussianBlur(fence, (0, 0), 2)[:, ::5]
    assert resampling_peak([luma_of(fence)])[0] < PEAK_LIMIT
    both = fence.copy()
    both[::5] = cv2.GaussianBlur(fence, (0, 0), 2)[::5]
    assert resampling_peak([luma_of(both)])[0] > PEAK_LIMIT


def test_jpeg_blocks_are_no_resizing() -> None:
    """Peaks at multiples of 1/8 belong to the grid of blocks."""
    done, content = cv2.imencode(".jpg", make_texture(), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert picture is not None
    assert resampling_peak([luma_of(np.asarray(picture, np.uint8))])[0] < PEAK_LIMIT


def test_small_pictures_say_nothing() -> None:
    """Too few periods fit in."""
    assert resampling_peak([luma_of(make_texture(SHORTEST_SIDE - 1, 300))]) == (0, 0)


def test_softness_tells_noise_from_enlargement() -> None:
    """1 for white noise, near 4 for a slope, 1 where nothing changes."""
    noise = np.random.default_rng(0).uniform(0, 255, (256, 256)).astype(np.float32)
    slope = np.repeat(np.arange(256, dtype=np.float32)[None], 256, axis=0)
    assert softness([noise]) == pytest.approx(1, abs=0.02)
    assert softness([slope]) == pytest.approx(4, abs=0.05)
    assert softness([np.zeros((8, 8), np.float32)]) == 1
