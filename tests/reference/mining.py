"""What mined patches must satisfy, checked patch by patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nclforensics.config import PatchConfig

AUTHENTIC, TAMPERED, CONTOUR, IGNORED = 0, 1, 2, -1
Cell = tuple[int, int, int]  # image, row, column
Roles = list[list[list[int]]]


def band_cells(roles: Roles, band: int) -> set[Cell]:
    """Return the cells at most `band` rows and columns away from a contour cell of the same image."""
    cells = _cells(roles)
    contour = [cell for cell, role in cells.items() if role == CONTOUR or _borders(cells, cell)]
    return {
        (image, row, column)
        for image, row, column in cells
        if any(
            other == image and max(abs(row - r), abs(column - c)) <= band  # Chebyshev distance
            for other, r, c in contour
        )
    }


def check(roles: Roles, config: PatchConfig, chosen: Iterable[tuple[Cell, int]]) -> None:
    """Assert that the chosen cells, with the roles that were reported for them, are a valid choice."""
    cells, near = _cells(roles), band_cells(roles, config.band)
    picked = list(chosen)
    assert len({cell for cell, _ in picked}) == len(picked), "a patch was chosen twice"
    assert all(cells[cell] == role for cell, role in picked), "a patch has another role"
    images = range(len(roles))
    pools = [[image] for image in images] if config.scope == "image" else [list(images)]
    for pool in pools:
        inside = {cell: role for cell, role in cells.items() if cell[0] in pool and role != IGNORED}
        taken = {cell for cell, _ in picked if cell[0] in pool}
        if config.scope == "image" and len(set(inside.values())) < 2:
            assert not taken, "an image with one role offers no pair"
            continue
        caps = {CONTOUR: config.contour_cap, TAMPERED: config.tampered_cap, AUTHENTIC: config.authentic_cap}
        for role, cap in caps.items():
            candidates = {cell for cell, own in inside.items() if own == role}
            limit = cap * len(pool)
            assert len(taken & candidates) == min(limit, len(candidates)), "a cap is exceeded or not used"
            share = 1.0 if role == CONTOUR else config.near_share
            promised = min(round(share * limit), len(candidates & near))
            assert len(taken & candidates & near) >= promised, "the band does not come first"


def _cells(roles: Roles) -> dict[Cell, int]:
    return {
        (image, row, column): role
        for image, rows in enumerate(roles)
        for row, line in enumerate(rows)
        for column, role in enumerate(line)
    }


def _borders(cells: dict[Cell, int], cell: Cell) -> bool:
    """Return whether a cell is tampered beside an authentic one, or the reverse; corners touch too."""
    image, row, column = cell
    around = {cells.get((image, row + dy, column + dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    return {cells[cell]} <= {AUTHENTIC, TAMPERED} and {AUTHENTIC, TAMPERED} <= around
