"""Pictures of score maps use one fixed scale."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nclforensics.errors import ShapeError
from nclforensics.reports.overlay import (
    FALSE_ALARM,
    HIT,
    MISS,
    color_prediction,
    color_scale,
    color_score_map,
    outline_mask,
    render_overlay,
    score_map_to_uint16,
)
from nclforensics.results import Box
from tests.factories import make_image, make_mask
from tests.scan_runs import COPY


def test_an_arrow_leads_from_the_original_to_the_copy() -> None:
    """White on black, with a box around the original; nothing is drawn where the two were not told apart."""
    image, empty = np.full((120, 160, 3), 90, np.uint8), np.zeros((120, 160), bool)
    plain = render_overlay(image, np.zeros((120, 160), np.float32), empty)
    source, target = Box(x=10, y=10, width=30, height=40), Box(x=100, y=60, width=30, height=40)
    copy = dataclasses.replace(COPY, source=source, target=target)
    drawn = render_overlay(image, np.zeros((120, 160), np.float32), empty, [copy])
    white = (drawn == 255).all(axis=2)
    assert white[10, 10:40].all()
    assert white[10:50, 39].all()
    assert white[55, 70]  # halfway
    assert not white[:, 125:].any()
    unknown = dataclasses.replace(copy, directed=False)
    assert np.array_equal(render_overlay(image, np.zeros((120, 160), np.float32), empty, [unknown]), plain)


def test_a_score_of_zero_leaves_the_photo_as_it_is() -> None:
    """An authentic photo's overlay is the photo."""
    image = make_image()
    overlay = render_overlay(image, np.zeros((48, 64), np.float32), make_mask(box=None))
    assert np.array_equal(overlay, image)


def test_the_colour_scale_is_not_stretched_to_the_image() -> None:
    """A pixel's colour depends on its own score only, not on the largest score of the image."""
    image = make_image()
    weak = np.full((48, 64), 0.1, np.float32)
    strong = weak.copy()
    strong[30:, 30:] = 1.0
    empty = make_mask(box=None)
    assert np.array_equal(render_overlay(image, weak, empty)[:30], render_overlay(image, strong, empty)[:30])


def test_a_higher_score_changes_the_photo_more() -> None:
    """The tint grows with the score."""
    image = np.full((8, 8, 3), 30, np.uint8)
    changes = [
        int(np.abs(render_overlay(image, np.full((8, 8), score, np.float32), np.zeros((8, 8), bool)) - 30.0).sum())
        for score in (0.0, 0.25, 0.5, 1.0)
    ]
    assert changes == sorted(set(changes))


@pytest.mark.parametrize("background", [0, 255], ids=["black", "white"])
def test_the_outline_is_visible_on_any_background(background: int) -> None:
    """Both black and white pixels run along the outline."""
    image = np.full((48, 64, 3), background, np.uint8)
    overlay = render_overlay(image, np.zeros((48, 64), np.float32), make_mask())
    assert {0, 255} == set(np.unique(overlay))


def test_the_inside_of_a_region_stays_visible() -> None:
    """The outline does not fill the region."""
    image = make_image()
    overlay = render_overlay(image, np.zeros((48, 64), np.float32), make_mask(box=(8, 8, 40, 50)))
    assert np.array_equal(overlay[14:34, 14:44], image[14:34, 14:44])


def test_the_image_given_is_not_changed() -> None:
    """Pixels of evidence stay as they are, in memory too."""
    image = make_image()
    render_overlay(image, np.ones((48, 64), np.float32), make_mask())
    assert np.array_equal(image, make_image())


def test_different_sizes_are_refused() -> None:
    """A score map of another grid cannot be drawn."""
    with pytest.raises(ShapeError, match="one size"):
        render_overlay(make_image(), np.zeros((48, 63), np.float32), make_mask())


def test_scores_are_stored_to_16_bits() -> None:
    """0 and 1 are exact and the rounding error is half a step."""
    scores = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    stored = score_map_to_uint16(scores)
    assert stored.dtype == np.uint16
    assert (int(stored[0, 0]), int(stored[0, -1])) == (0, 65535)
    assert np.abs(stored / 65535 - scores).max() < 0.51 / 65535


def test_a_score_map_has_the_colours_of_the_scale_by_its_own_scores() -> None:
    """The first and the last colour for 0 and 1, and nothing is stretched."""
    scores = np.array([[0.0, 0.5, 1.0]], np.float32)
    scale = color_scale()
    assert color_score_map(scores)[0].tolist() == [scale[index].tolist() for index in (0, 128, 255)]
    assert color_score_map(scores[:, :2])[0, 1].tolist() == scale[128].tolist()
    assert scale.sum(axis=1)[[0, 64, 128, 192, 255]].tolist() == sorted(scale.sum(axis=1)[[0, 64, 128, 192, 255]])


def test_a_prediction_shows_hits_misses_and_false_alarms() -> None:
    """One pixel of each kind."""
    prediction = np.array([[True, False, True, False]])
    mask = np.array([[True, True, False, False]])
    assert color_prediction(prediction, mask)[0].tolist() == [list(HIT), list(MISS), list(FALSE_ALARM), [0, 0, 0]]


def test_an_outlined_photo_is_a_copy() -> None:
    """The photo given stays as it was; inside and outside the outline nothing changes."""
    image = make_image()
    outlined = outline_mask(image, make_mask(box=(10, 10, 40, 50)))
    assert np.array_equal(image, make_image())
    assert np.array_equal(outlined[20:30, 20:40], image[20:30, 20:40])
    assert (outlined != image).any()
