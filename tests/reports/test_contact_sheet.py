from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.reports.contact_sheet import CELL_HEIGHT, CELL_WIDTH, SheetEntry, reduced, render_contact_sheet
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray


def entry(*, name: str = "a.jpg", fits: bool = True, alarming: bool = False, image: bool = True) -> SheetEntry:
    """Return a pair in red with a white box for a mask."""
    red = np.full((120, 160, 3), (200, 0, 0), np.uint8)
    return SheetEntry(
        red if image else None, make_mask(120, 160, box=(40, 40, 80, 100)), fits, name, "remark", alarming
    )


def decoded(png: bytes) -> NDArray[np.uint8]:
    """Return a PNG's pixels, RGB."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels[:, :, ::-1], np.uint8)


def cell(sheet: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return one of the three pictures of the first entry."""
    left = 16 + number * (CELL_WIDTH + 4)
    return sheet[52 : 52 + CELL_HEIGHT, left : left + CELL_WIDTH]


def test_image_mask_and_outline_stand_side_by_side() -> None:
    """The image is shown plain, then the mask in black and white, then the image with the outline only."""
    sheet = decoded(render_contact_sheet([entry()], title="set"))
    image, mask, outline = (cell(sheet, number)[52:172, 70:230] for number in range(3))
    assert (image == (200, 0, 0)).all()
    assert np.array_equal(mask[:, :, 0] > 127, make_mask(120, 160, box=(40, 40, 80, 100)))
    assert tuple(outline[60, 70]) == (200, 0, 0)
    assert tuple(outline[40, 70]) == (255, 255, 255)


def test_mask_that_does_not_fit_is_not_laid_over_the_image() -> None:
    """The third cell stays empty, and so does that of an image that cannot be read."""
    for sheet in (render_contact_sheet([each], title="set") for each in (entry(fits=False), entry(image=False))):
        assert cell(decoded(sheet), 2).min() > 200


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 2, 3)])
def test_sheet_has_room_for_all_entries(count: int, columns: int, rows: int) -> None:
    """Two entries stand side by side."""
    height, width = decoded(render_contact_sheet([entry()] * count, title="set")).shape[:2]
    assert width == 16 + columns * (3 * CELL_WIDTH + 2 * 4 + 16)
    assert height == 52 + rows * (CELL_HEIGHT + 46) + 16


def test_captions_are_drawn_whatever_the_name() -> None:
    """Dollar signs are no formula, long names are cut, and the remark on an odd pair is red."""
    plain, odd = (
        decoded(render_contact_sheet([entry(name=name, alarming=alarming)], title="$"))
        for name, alarming in (("$x_{$.jpg", False), ("y" * 500, True))
    )
    captions = [sheet[52 + CELL_HEIGHT :].astype(int) for sheet in (plain, odd)]
    reddest = [int((caption[:, :, 0] - caption[:, :, 1]).max()) for caption in captions]
    assert captions[0].min() < 100
    assert reddest[0] < 20
    assert reddest[1] > 100


def test_pictures_are_reduced_to_their_cell() -> None:
    """Large ones keep their aspect ratio, small ones are not blown up."""
    assert reduced(make_image(1000, 500)).shape[:2] == (CELL_HEIGHT, 112)
    assert reduced(make_image(500, 5000)).shape[:2] == (30, CELL_WIDTH)
    assert reduced(make_image(20, 10)).shape[:2] == (20, 10)


def test_empty_sheet_is_refused() -> None:
    """There is nothing to draw."""
    with pytest.raises(ValueError, match="at least one"):
        render_contact_sheet([], title="set")


@pytest.mark.filterwarnings("error")
def test_names_that_the_font_lacks_are_escaped() -> None:
    """Each is exact instead of a row of empty boxes, and Python does not warn of its letters."""
    drawn, escaped = (render_contact_sheet([entry(name=n)], title=n) for n in ("\u4e2d.jpg", "\\u4e2d.jpg"))
    assert drawn == escaped
