"""Where each patch goes in the sorted, padded rows that the CUDA kernels read.

Sorting by (group, role) and padding each run to whole row tiles gives every tile one role and one group: the kernels
compare no labels, and groups never meet. Sizes stay on the device, so that nothing waits for the GPU; see `tile_count`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse.modules import ROW_TILE
from nclforensics.ops.class_lse.statistics import group_ranks
from nclforensics.ops.class_lse.tiles import NUM_ROLES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PaddedLayout:
    """The runs of patches of one role in one group ("segments") and the places of the patches; int32 on their device.

    Attributes:
        places: Row of each patch, -1 for an ignored one, shape (N,).
        begins: First row of each segment, a multiple of ROW_TILE, and behind the last the number of rows in use, shape
            (S + 1,). Segment 3 g + c is role c of the g-th group; many of them are empty.
        ends: Row behind the last patch of each segment, shape (S,).
        tile_segments: Segment of each row tile, S for a tile that is not in use, shape (T,).
        roles_known: Whether every role is one of -1, 0, 1, 2; bool, shape ().
    """

    places: Tensor
    begins: Tensor
    ends: Tensor
    tile_segments: Tensor
    roles_known: Tensor

    @property
    def tiles(self) -> int:
        """Number of row tiles T."""
        return len(self.tile_segments)

    @property
    def rows(self) -> int:
        """Number of rows, in use or not."""
        return self.tiles * ROW_TILE

    @property
    def segments(self) -> int:
        """Number of segments S."""
        return len(self.ends)


def lay_out(roles: Tensor, groups: Tensor | None) -> PaddedLayout:
    """Sort patches by (group, role) and pad each run of one role to whole row tiles.

    Args:
        roles: Shape (N,), N > 0, int64. A role other than 0, 1, 2 is left out.
        groups: Shape (N,), int64, any values in any order; None puts all patches into one group.
    """
    # The number of groups is known on the device only, and is at most N.
    segments = NUM_ROLES * (1 if groups is None else len(roles))
    known = (roles >= 0) & (roles < NUM_ROLES)
    ranks = group_ranks(groups)
    keys = roles if ranks is None else NUM_ROLES * ranks + roles
    keys, order = torch.sort(keys.where(known, segments), stable=True)
    names = torch.arange(segments + 1, device=roles.device)
    starts = torch.searchsorted(keys, names)
    counts = starts.diff()
    first_tiles = F.pad(((counts + ROW_TILE - 1) // ROW_TILE).cumsum(0), (1, 0))
    begins = first_tiles * ROW_TILE
    rows = begins[keys] + torch.arange(len(keys), device=roles.device) - starts[keys]
    places = torch.empty_like(keys).scatter(0, order, rows.where(keys < segments, -1))
    tiles = torch.arange(tile_count(len(roles), None if groups is None else first_tiles), device=roles.device)
    return PaddedLayout(
        places=places.int(),
        begins=begins.int(),
        ends=(begins[:-1] + counts).int(),
        tile_segments=(torch.searchsorted(first_tiles, tiles, right=True) - 1).int(),
        roles_known=(known | (roles == -1)).all(),
    )


def tile_count(patches: int, first_tiles: Tensor | None) -> int:
    """Return how many row tiles to allocate.

    One group has three runs, so that the number is known within two tiles. With groups it depends on their number and
    sizes, between N / 128 and N: memory for the worst case would be 128 rows a patch, so the host reads the number,
    which waits once for the GPU.

    Args:
        patches: N.
        first_tiles: First tile of each segment and the number of tiles in use; None for one group.
    """
    if first_tiles is None:
        return (patches + NUM_ROLES * (ROW_TILE - 1)) // ROW_TILE
    return max(1, int(first_tiles[-1]))
