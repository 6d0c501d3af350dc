"""Cuts the pairs of patches into tiles: a run of anchors against a run of partners of one role in one group.

Sorting the patches by (group, role) makes every role of every group one contiguous run. A tile therefore needs no
comparison of labels, pairs of different groups are never computed, and no tensor is larger than one tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nclforensics.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

NUM_ROLES = 3
IGNORED = -1
# 512 x 512 float32 is 1 MiB, which stays in a core's second-level cache; larger tiles are slower on a CPU. A GPU
# prefers few large kernels.
_ROWS = 512
_COLUMNS = {"cpu": 512}
_COLUMNS_ELSEWHERE = 8192


@dataclass(frozen=True)
class Tile:
    """Anchors `rows` against partners `columns`, all of `role`; positions count in the sorted order."""

    rows: slice
    columns: slice
    role: int

    def clear_diagonal(self, pairs: torch.Tensor, value: float) -> None:
        """Set the pairs of a patch with itself to `value`, in place."""
        start, stop = max(self.rows.start, self.columns.start), min(self.rows.stop, self.columns.stop)
        if start < stop:
            row, column = start - self.rows.start, start - self.columns.start
            pairs[row : row + stop - start, column : column + stop - start].diagonal().fill_(value)


@dataclass(frozen=True)
class PairTiling:
    """The patches that take part, sorted by (group, role).

    Attributes:
        order: Their positions in the caller's tensors, shape (M,), int64; M <= N because ignored patches are left out.
        counts: Number of patches for each group and role, shape (G, 3).
    """

    order: torch.Tensor
    counts: list[list[int]]

    def tiles(self) -> Iterator[Tile]:
        """Yield tiles that cover every pair of one group once, including the pairs of a patch with itself."""
        yield from self._tiles(same_role=False)

    def tiles_of_same_role(self) -> Iterator[Tile]:
        """Yield tiles that cover every pair of one group and one role once, including a patch with itself."""
        yield from self._tiles(same_role=True)

    def _tiles(self, *, same_role: bool) -> Iterator[Tile]:
        width = _COLUMNS.get(self.order.device.type, _COLUMNS_ELSEWHERE)
        start = 0
        for counts in self.counts:
            group, begin = slice(start, start + sum(counts)), start
            for role, count in enumerate(counts):
                partners = slice(begin, begin + count)
                for rows in _chunks(partners if same_role else group, _ROWS):
                    for columns in _chunks(partners, width):
                        yield Tile(rows, columns, role)
                begin += count
            start = group.stop


def tile_pairs(roles: torch.Tensor, groups: torch.Tensor | None) -> PairTiling:
    """Sort the patches by (group, role), leaving out the ignored ones.

    Args:
        roles: Shape (N,), int64, values -1 (ignored), 0, 1, 2.
        groups: Shape (N,), int64, any values in any order; None puts all patches into one group.

    Raises:
        UsageError: If a role has another value.
    """
    if roles.numel() and (int(roles.max()) >= NUM_ROLES or int(roles.min()) < IGNORED):
        raise UsageError(
            f"Expected roles of -1 (ignored), 0 (authentic), 1 (tampered) or 2 (contour), got values from "
            f"{int(roles.min())} to {int(roles.max())}."
        )
    kept = torch.nonzero(roles >= 0).flatten()
    keys, num_groups = roles[kept], 1
    if groups is not None:
        names, ranks = torch.unique(groups[kept], return_inverse=True)
        keys, num_groups = keys + NUM_ROLES * ranks, names.numel()
    counts = torch.bincount(keys, minlength=NUM_ROLES * num_groups).reshape(num_groups, NUM_ROLES)
    return PairTiling(kept[torch.argsort(keys, stable=True)], counts.tolist())


def _chunks(span: slice, size: int) -> Iterator[slice]:
    for start in range(span.start, span.stop, size):
        yield slice(start, min(start + size, span.stop))
