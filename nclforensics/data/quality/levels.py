"""Whether the levels of a picture were mapped to others in 8 bits, as brightness, contrast and curves of an editor do.

Where such a map is steep it leaves levels that no pixel has, where it is flat it heaps two levels on one: beside its
neighbours each level is too rare or too common, while a camera's histogram is smooth (Stamm and Liu, "Forensic
detection of image manipulation using statistical intrinsic fingerprints", 2010). A JPEG saving afterwards smooths it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

UNEVENNESS_LIMIT: Final = 0.1
LEVELS: Final = 256
CLIPPED: Final = 4  # levels at either end, where clipping leaves heaps of its own
# Mean distance of a Poisson count from the mean of its two neighbours of the same rate: sqrt(1.5 rate 2 / pi).
CHANCE: Final = np.sqrt(3 / np.pi)


def level_unevenness(windows: list[NDArray[np.uint8]]) -> float:
    """Return how far the levels of RGB pixels lie from their neighbours' mean, beyond chance, as a share of all.

    Pixels that equal the one beside them do not count, so that surfaces of one colour make no heaps. A map of two
    channels is seen, of one it is not: the second largest value of the three is returned.

    Args:
        windows: Parts of one image, uint8 (H, W, 3).

    Returns:
        At least 0, and less than 2; below 0.1 for pictures as cameras make them.
    """
    return sorted(_unevenness(_histogram(windows, channel)) for channel in range(3))[1]


def _histogram(windows: list[NDArray[np.uint8]], channel: int) -> Numbers:
    counts = np.zeros(LEVELS)
    for window in windows:
        left, right = window[:, :-1, channel], window[:, 1:, channel]
        counts += np.bincount(left[left != right], minlength=LEVELS)
    return counts[CLIPPED : LEVELS - CLIPPED]


def _unevenness(counts: Numbers) -> float:
    total = counts.sum()
    if not total:
        return 0.0
    around = (counts[:-2] + counts[2:]) / 2
    distance = np.abs(counts[1:-1] - around).sum()
    by_chance = CHANCE * np.sqrt((counts[:-2] + counts[1:-1] + counts[2:]) / 3).sum()
    return float(max(0.0, distance - by_chance) / total)
