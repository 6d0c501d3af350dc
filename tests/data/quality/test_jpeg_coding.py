from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from nclforensics.data.quality.jpeg_coding import ijg_quality, ijg_tables, read_jpeg_coding
from tests.factories import make_image


def _jpeg(*options: int) -> bytes:
    done, content = cv2.imencode(".jpg", make_image(), list(options))
    assert done
    return content.tobytes()


@pytest.mark.parametrize("quality", [1, 24, 25, 49, 50, 75, 89, 95, 100])
def test_quality_is_the_one_that_the_file_was_saved_at(quality: int) -> None:
    """The library's own tables are recognized at every bend of its scale."""
    coding = read_jpeg_coding(_jpeg(cv2.IMWRITE_JPEG_QUALITY, quality))
    assert coding is not None
    assert (coding.quality, coding.standard) == (quality, True)


def test_other_tables_get_the_nearest_quality_and_are_said_to_be_other() -> None:
    """A camera's own tables lie between two qualities: the nearer one is named, not claimed."""
    steps = ijg_tables()[79] + np.triu(np.ones((8, 8), np.int64))
    content = io.BytesIO()
    Image.fromarray(make_image()).save(content, "JPEG", qtables=[steps.ravel().tolist(), [20] * 64])
    coding = read_jpeg_coding(content.getvalue())
    assert coding is not None
    np.testing.assert_array_equal(coding.luma, steps)
    assert (coding.quality, coding.standard) == (79, False)


def test_colour_table_of_another_scale_is_not_standard() -> None:
    """Standard means every table: some encoders keep libjpeg's for brightness alone."""
    content = io.BytesIO()
    Image.fromarray(make_image()).save(content, "JPEG", qtables=[ijg_tables()[79].ravel().tolist(), [7] * 64])
    coding = read_jpeg_coding(content.getvalue())
    assert coding is not None
    assert (coding.quality, coding.standard) == (80, False)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "4:2:0"),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, "4:2:2"),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, "4:4:0"),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, "4:4:4"),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, "4:1:1"),
    ],
)
def test_subsampling_is_named(factor: int, expected: str) -> None:
    """The usual names, from the sampling factors of the frame header."""
    coding = read_jpeg_coding(_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor))
    assert coding is not None
    assert coding.subsampling == expected


def test_grey_jpeg_has_no_colour_to_subsample() -> None:
    """One component is 4:0:0."""
    content = cv2.imencode(".jpg", make_image()[:, :, 0])[1].tobytes()
    coding = read_jpeg_coding(content)
    assert coding is not None
    assert coding.subsampling == "4:0:0"


@pytest.mark.parametrize("progressive", [0, 1])
def test_progressive_is_told(progressive: int) -> None:
    """From the kind of the frame header."""
    coding = read_jpeg_coding(_jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive))
    assert coding is not None
    assert coding.progressive == bool(progressive)


def test_no_bytes_before_the_scan_raise() -> None:
    """Whatever the segments hold, the answer is a coding or None: truncations and damaged bytes never raise."""
    content = _jpeg()
    end = content.index(b"\xff\xda")
    for position in range(2, end):
        read_jpeg_coding(content[:position])
        read_jpeg_coding(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
    assert read_jpeg_coding(content[:end]) is not None


def test_quality_of_a_table_of_ones_is_the_highest() -> None:
    """Quality 100 quantizes nothing but the fraction."""
    assert ijg_quality(np.ones((8, 8), np.int64)) == (100, True)


def test_steps_of_two_bytes_and_of_nothing_are_read() -> None:
    """Tables may be 16 bits deep; a step of 0, which nothing can be divided by, counts as 1."""
    table = (np.arange(64) * 1000).astype(">u2")
    segment = b"\xff\xdb\x00\x83\x10" + table.tobytes()
    content = _jpeg()
    start = content.index(b"\xff\xdb")
    coding = read_jpeg_coding(content[:start] + segment + content[start + 69 :])
    assert coding is not None
    assert (coding.luma[0, 0], coding.luma[0, 1], coding.luma[1, 0], coding.luma[7, 7]) == (1, 1000, 2000, 63000)
