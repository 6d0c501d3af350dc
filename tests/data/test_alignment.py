from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data import alignment
from nclforensics.data.alignment import Alignment, AlignmentMeter
from tests.planted_sets import COUNT, HEIGHT, SHIFT, WIDTH, faulty_masks, picture

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measured(masks: list[NDArray[np.bool_]], *, scale: int = 1, first: int = 0) -> Alignment:
    """Return the outcome for the planted pictures, every pixel repeated `scale` times."""
    meter = AlignmentMeter()
    for number, mask in list(enumerate(masks, start=1))[first:]:
        image = picture(number)[0].repeat(scale, axis=0).repeat(scale, axis=1)
        meter.add(image, mask.repeat(scale, axis=0).repeat(scale, axis=1))
    return meter.result()


def test_correct_masks_are_aligned() -> None:
    """The peak is at no displacement, in every resample, and far above the rest."""
    result = measured(faulty_masks("none"))
    assert (result.verdict, result.images, result.centred) == ("aligned", COUNT, 1.0)
    assert max(map(abs, result.shift)) <= 1
    assert result.height > 1.5 * result.rest


def test_displacement_is_measured() -> None:
    """Masks 12 pixels too far to the right are said to be so."""
    result = measured(faulty_masks("shifted"))
    assert result.verdict == "shifted"
    assert result.shift == pytest.approx((SHIFT, 0), abs=1)
    assert result.centred == 0


def test_displacement_is_told_in_pixels_of_the_images() -> None:
    """At six times the size, where images are scaled down to be compared, it is six times as many pixels."""
    result = measured(faulty_masks("shifted"), scale=6)
    assert result.verdict == "shifted"
    assert result.shift == pytest.approx((6 * SHIFT, 0), abs=6)


def test_shuffled_masks_are_unrelated() -> None:
    """No displacement stands out."""
    result = measured(faulty_masks("shuffled"))
    assert result.verdict == "unrelated"
    assert result.near_zero < alignment.LEAST_NEAR


def test_polarity_does_not_matter() -> None:
    """Inversion is found by the tampered share; the contour is the same."""
    plain, inverted = measured(faulty_masks("none")), measured(faulty_masks("inverted"))
    assert inverted.height == pytest.approx(plain.height, rel=0.01)


def test_few_images_support_no_claim() -> None:
    """With fewer than 15, displaced and shuffled masks are not called so; aligned ones may be."""
    first = COUNT - alignment.LEAST_IMAGES + 1
    assert measured(faulty_masks("shifted"), first=first).verdict == "too few"
    assert measured(faulty_masks("shuffled"), first=first).verdict == "too few"
    assert measured(faulty_masks("none"), first=first).verdict == "aligned"


def test_masks_without_contour_say_nothing() -> None:
    """An empty mask, a full one, and one that leaves only the frame of the image out."""
    meter = AlignmentMeter()
    image, _ = picture(1)
    for value in (False, True):
        meter.add(image, np.full((HEIGHT, WIDTH), value))
    meter.add(image, np.pad(np.ones((HEIGHT - 2, WIDTH - 2), np.bool_), 1))
    assert meter.result() == Alignment(0, (0.0, 0.0), 0.0, 0.0, 0.0, 0.0, "too few")


def test_mask_of_another_size_is_laid_over_the_image() -> None:
    """Masks of half the size are as aligned as whole ones."""
    result = measured([mask[::2, ::2] for mask in faulty_masks("none")])
    assert result.verdict == "aligned"


def test_surface_is_the_formula() -> None:
    """The transform gives what summing over the contour gives, for displacements inside and across the frame."""
    rng = np.random.default_rng(0)
    contour, edges = (
        (rng.normal(size=(70, 50)) + 1j * rng.normal(size=(70, 50))).astype(np.complex64) for _ in range(2)
    )
    correlation, counts = alignment._correlation(contour, edges), alignment._count_inside(np.abs(contour))
    for y, x in [(0, 0), (3, -5), (-20, 7), (64, 0), (10, -45)]:
        rows, columns = slice(max(0, -y), min(70, 70 - y)), slice(max(0, -x), min(50, 50 - x))
        moved = slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)
        expected = float((np.conj(contour[rows, columns]) * edges[moved]).real.sum())
        assert correlation[y + alignment.REACH, x + alignment.REACH] == pytest.approx(expected, abs=1e-3)
        inside = float(np.abs(contour[rows, columns]).sum())
        assert counts[y + alignment.REACH, x + alignment.REACH] == pytest.approx(inside, rel=1e-5)
