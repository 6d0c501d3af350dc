"""Orientation of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from nclforensics.reports.upright import upright, upright_box, upright_size

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_turn_as_pillow_turns_them(orientation: int) -> None:
    """Every value of the tag means what another library takes it to mean."""
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(PIXELS, orientation), expected)
    assert upright_size(3, 2, orientation) == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_picture(orientation: int) -> None:
    """The box around marked pixels is, after turning, the box around the turned marks."""
    marks = np.zeros((20, 30), dtype=bool)
    marks[3:8, 10:27] = True
    rows, columns = np.nonzero(upright(marks, orientation))
    expected = (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    assert upright_box((10, 3, 17, 5), 30, 20, orientation) == expected


def test_an_unknown_orientation_turns_nothing() -> None:
    """A value that has no meaning leaves the picture as it is."""
    np.testing.assert_array_equal(upright(PIXELS, 42), PIXELS)
