"""Keypoints of an image that look alike at two places.

A keypoint's nearest descriptors are taken as its copies if they are much nearer than the next one after them: the
generalized ratio test, which finds several copies and drops what is found everywhere, such as bricks.

Source: Amerini et al., "A SIFT-based forensic method for copy-move attack detection", TIFS 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.matching.keypoints import mirrored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.keypoints import Keypoints

RATIO: Final = 0.7  # nearest over next distance
COPIES: Final = 3  # a keypoint has at most so many
FARTHEST: Final = 270.0  # distance of descriptors, whose length is about 512
ROWS: Final = 512  # keypoints compared at a time, which bounds memory
LOWEST_SCALE, HIGHEST_SCALE = 0.4, 2.5


@dataclass(frozen=True)
class Pairs:
    """Pairs of places that look alike, in both directions.

    Attributes:
        sources: Places (x, y), float64 (N, 2).
        targets: Their partners, float64 (N, 2).
        log_scale: Logarithm of the target's size over the source's, float64 (N,).
        turn: Angle in radians by which the source turns into the target (after mirroring, if mirrored), (N,).
        mirrored: Whether the target looks like the mirror image of the source.
    """

    sources: NDArray[np.float64]
    targets: NDArray[np.float64]
    log_scale: NDArray[np.float64]
    turn: NDArray[np.float64]
    mirrored: bool

    def __len__(self) -> int:
        return len(self.sources)


def find_pairs(keypoints: Keypoints, *, apart: float, mirror: bool) -> Pairs:
    """Find the keypoints that look alike and lie at least `apart` pixels from each other."""
    first, second = _nearest(keypoints, apart, mirror=mirror)
    ratio = np.log(keypoints.sizes[second] / keypoints.sizes[first])
    kept = np.abs(ratio) < np.log(HIGHEST_SCALE)
    unordered = np.stack([np.minimum(first, second), np.maximum(first, second)])[:, kept]
    low, high = np.unique(unordered, axis=1)
    first, second = np.r_[low, high], np.r_[high, low]
    angles = keypoints.angles
    return Pairs(
        sources=keypoints.places[first],
        targets=keypoints.places[second],
        log_scale=np.log(keypoints.sizes[second] / keypoints.sizes[first]),
        turn=angles[second] + angles[first] if mirror else angles[second] - angles[first],
        mirrored=mirror,
    )


def _nearest(keypoints: Keypoints, apart: float, *, mirror: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of keypoints that pass the ratio test and of their partners."""
    order = np.argsort(keypoints.places[:, 1], kind="stable")  # from top to bottom: neighbours are near in it
    x, y = keypoints.places[order].T
    ours = keypoints.descriptors[order]
    others = mirrored(ours) if mirror else ours
    lengths = np.einsum("kd,kd->k", ours, ours)
    # One product gives -2 ab + bb: whole numbers below 2^24, so exact.
    ours, others = np.column_stack([ours, np.ones_like(lengths)]), np.column_stack([-2 * others, lengths])
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(keypoints), ROWS):
        rows = slice(start, start + ROWS)
        squares = ours[rows] @ others.T
        near = slice(*np.searchsorted(y, [y[rows][0] - apart, y[rows][-1] + apart]))
        close = np.square(x[rows, None] - x[near]) + np.square(y[rows, None] - y[near]) < apart**2
        squares[:, near][close] = np.inf
        index, distance = _smallest(squares, lengths[rows])
        passed = (distance[:, :-1] < RATIO * distance[:, 1:]) & (distance[:, :-1] < FARTHEST)
        copies = np.where(passed, np.arange(1, COPIES + 1), 0).max(axis=1)
        row, rank = np.nonzero(np.arange(COPIES) < copies[:, None])
        first.append(order[row + start])
        second.append(order[index[row, rank]])
    return np.concatenate(first), np.concatenate(second)


def _smallest(
    squares: NDArray[np.float32], lengths: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the columns of the COPIES + 1 smallest entries of each row, and those distances; `squares` is used up."""
    rows = np.arange(len(squares))
    index = np.empty((len(squares), COPIES + 1), np.int64)
    distance = np.empty(index.shape)
    for rank in range(COPIES + 1):
        index[:, rank] = squares.argmin(axis=1)
        distance[:, rank] = np.sqrt(np.maximum(squares[rows, index[:, rank]].astype(np.float64) + lengths, 0))
        squares[rows, index[:, rank]] = np.inf
    return index, distance
