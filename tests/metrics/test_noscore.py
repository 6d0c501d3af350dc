from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nclforensics.metrics.noscore import scored_pixels
from tests.factories import make_mask


@pytest.mark.parametrize("seed", range(6))
def test_scored_pixels_are_those_of_scipy_s_filters(seed: int) -> None:
    """TruFor takes a minimum filter of 15 and a maximum filter of 11, mirrored at the image's edge."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((80, 90), dtype=np.bool_)
    for _ in range(3):
        top, left, size = generator.integers(0, 60), generator.integers(0, 70), generator.integers(5, 40)
        mask[top : top + size, left : left + size] = True
    core = ndimage.minimum_filter(mask, 15)
    far = ~ndimage.maximum_filter(mask, 11)
    assert np.array_equal(core | far, scored_pixels(mask))


def test_border_by_hand() -> None:
    """Seven pixels inside the edge and five outside it are not scored."""
    row = scored_pixels(make_mask(60, 60, box=(0, 20, 60, 60)))[30]
    assert list(range(15, 27)) == np.flatnonzero(~row).tolist()


def test_narrow_region_has_no_scored_pixel() -> None:
    """A square of 14 pixels is all border."""
    mask = make_mask(60, 60, box=(20, 20, 34, 34))
    assert not (scored_pixels(mask) & mask).any()
