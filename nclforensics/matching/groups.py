"""Pairs that may belong to one copy: near each other at both places, with like change of size and angle.

Single-linkage agglomeration: a group is what a chain of such neighbours holds together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.pairs import Pairs

LOG_SCALE: Final = 0.35
TURN: Final = np.radians(20)
MOST: Final = 3000  # pairs; more come from textures that repeat, and the first ones are the strongest keypoints'


def group_pairs(pairs: Pairs, *, reach: float, least: int) -> list[NDArray[np.int64]]:
    """Group the pairs.

    Args:
        pairs: The first MOST are used.
        reach: Pairs are neighbours if both their sources and their targets are at most so many pixels apart.
        least: Fewest pairs of a group.

    Returns:
        The indices of each group's pairs, ascending; the largest group first.
    """
    count = min(len(pairs), MOST)
    unseen = np.ones(count, np.bool_)
    groups = []
    for start in range(count):
        if not unseen[start]:
            continue
        unseen[start] = False
        members, border = [start], [start]
        while border:
            joined = np.flatnonzero(unseen & _neighbours(pairs, border.pop(), count, reach))
            unseen[joined] = False
            members += joined.tolist()
            border += joined.tolist()
        if len(members) >= least:
            groups.append(np.sort(members))
    return sorted(groups, key=len, reverse=True)


def _neighbours(pairs: Pairs, index: int, count: int, reach: float) -> NDArray[np.bool_]:
    turn = pairs.turn[:count] - pairs.turn[index]
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    sources = np.abs(pairs.sources[:count] - pairs.sources[index]).max(axis=1)
    targets = np.abs(pairs.targets[:count] - pairs.targets[index]).max(axis=1)
    scale = np.abs(pairs.log_scale[:count] - pairs.log_scale[index])
    return np.asarray((sources <= reach) & (targets <= reach) & (scale <= LOG_SCALE) & (turn <= TURN))
