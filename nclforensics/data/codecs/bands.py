"""Going through an image a few rows at a time, so that a conversion needs no second copy of it in another type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BAND_PIXELS: Final = 2**20


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows that cover an image, each of about `BAND_PIXELS` pixels, at least one row."""
    rows = max(1, BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
