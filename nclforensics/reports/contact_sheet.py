"""A contact sheet of a data set: image, mask, and the outline of the mask on the image, for a person to look at."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from nclforensics.reports.overlay import outline_mask
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CELL_WIDTH, CELL_HEIGHT = 300, 225
_COLUMNS: Final = 2  # entries side by side, each of three pictures
_GAP, _MARGIN, _CAPTION, _TITLE = 4, 16, 46, 52
_PAPER, _EMPTY = 250, 225
_DPI: Final = 100
_FONT: Final = "DejaVu Sans"  # comes with matplotlib
_INK, _ALARM = "#222222", "#b3261e"
_LONGEST: Final = 140  # characters a line of a caption


@dataclass(frozen=True)
class SheetEntry:
    """One pair, reduced to the size at which it is shown.

    Attributes:
        image: RGB uint8 (h, w, 3); None if it cannot be read.
        mask: bool (h, w), of its own shape; None if there is none or it cannot be read.
        fits: Whether the mask may be laid over the image.
        name: First line of the caption.
        remark: Second line.
        alarming: Whether the entry is shown because something is odd about it.
    """

    image: NDArray[np.uint8] | None
    mask: NDArray[np.bool_] | None
    fits: bool
    name: str
    remark: str
    alarming: bool


def reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture, (H, W) or (H, W, 3), scaled down to fit a cell; a smaller one is returned as it is."""
    height, width = picture.shape[:2]
    scale = min(CELL_WIDTH / width, CELL_HEIGHT / height, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def render_contact_sheet(entries: Sequence[SheetEntry], *, title: str) -> bytes:
    """Return the sheet as a PNG file: entries row by row, each with image, mask and outline.

    Raises:
        ValueError: If there is no entry.
    """
    if not entries:
        raise ValueError("A contact sheet needs at least one entry.")
    columns = min(_COLUMNS, len(entries))
    rows = -(-len(entries) // columns)
    entry_width, entry_height = 3 * CELL_WIDTH + 2 * _GAP, CELL_HEIGHT + _CAPTION
    height = _TITLE + rows * entry_height + _MARGIN
    width = _MARGIN + columns * (entry_width + _MARGIN)
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    corners = [
        (_TITLE + k // columns * entry_height, _MARGIN + k % columns * (entry_width + _MARGIN))
        for k in range(len(entries))
    ]
    for entry, (top, left) in zip(entries, corners, strict=True):
        for number, picture in enumerate(_pictures(entry)):
            _paste(sheet, picture, top=top, left=left + number * (CELL_WIDTH + _GAP))
    return _with_captions(sheet, entries, corners, title=title)


def _pictures(entry: SheetEntry) -> tuple[NDArray[np.uint8] | None, ...]:
    mask = None if entry.mask is None else np.repeat(entry.mask.astype(np.uint8)[:, :, None] * 255, 3, axis=2)
    if entry.image is None or entry.mask is None or not entry.fits:
        return entry.image, mask, None
    size = (entry.image.shape[1], entry.image.shape[0])
    laid = cv2.resize(entry.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return entry.image, mask, outline_mask(entry.image, np.asarray(laid, np.bool_))


def _paste(sheet: NDArray[np.uint8], picture: NDArray[np.uint8] | None, *, top: int, left: int) -> None:
    """Put a picture into the middle of its cell; a missing one leaves the cell crossed out."""
    cell = sheet[top : top + CELL_HEIGHT, left : left + CELL_WIDTH]
    cell[:] = _EMPTY
    if picture is None:
        cv2.line(cell, (0, 0), (CELL_WIDTH, CELL_HEIGHT), (_PAPER,) * 3, 2)
        cv2.line(cell, (CELL_WIDTH, 0), (0, CELL_HEIGHT), (_PAPER,) * 3, 2)
        return
    down, right = (CELL_HEIGHT - picture.shape[0]) // 2, (CELL_WIDTH - picture.shape[1]) // 2
    cell[down : down + picture.shape[0], right : right + picture.shape[1]] = picture


def _with_captions(
    sheet: NDArray[np.uint8], entries: Sequence[SheetEntry], corners: Sequence[tuple[int, int]], *, title: str
) -> bytes:
    height, width = sheet.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.figimage(sheet)
    drawn = get_font(findfont(_FONT)).get_charmap()  # matplotlib draws an empty box, and warns, of any other

    def write(text: str, *, left: int, top: int, size: int, color: str = _INK) -> None:
        text = printable(text, font=drawn)
        shown = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
        place = (left / width, 1 - top / height)
        figure.text(*place, shown, family=_FONT, fontsize=size, color=color, va="top", ha="left", parse_math=False)

    write(title, left=_MARGIN, top=12, size=13)
    write("image, mask (white = tampered), outline", left=_MARGIN, top=33, size=8)
    for entry, (top, left) in zip(entries, corners, strict=True):
        below = top + CELL_HEIGHT
        write(entry.name, left=left, top=below + 4, size=8)
        write(entry.remark, left=left, top=below + 20, size=8, color=_ALARM if entry.alarming else _INK)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=_DPI)
    return target.getvalue()
