"""Faults of a data set that would spoil hours of work, found before the first image is analysed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.images import image_size, read_mask
from nclforensics.errors import DatasetError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.manifest import ImagePair

ASPECT_TOLERANCE: Final = 0.01
MAX_MEDIAN_SHARE: Final = 0.5
_LISTED: Final = 3


@dataclass(frozen=True)
class CheckedSet:
    """What of a data set can be used.

    Attributes:
        usable: Pairs whose files are whole and fit each other, in the order of the set.
        skipped: Pairs left out, each with its reason.
        resized: Number of usable masks that need resizing to their image.
    """

    usable: tuple[ImagePair, ...]
    skipped: tuple[tuple[ImagePair, str], ...]
    resized: int


@dataclass(frozen=True)
class _Look:
    """What one pair looks like: its fault leaves it out, its mismatch stops everything."""

    pair: ImagePair
    share: float | None = None
    resized: bool = False
    fault: str = ""
    mismatch: str = ""


def check_pairs(pairs: Sequence[ImagePair], *, progress: Callable[[], None] | None = None) -> CheckedSet:
    """Look at every mask and at every image's header.

    A file that cannot be read, and a tampered image whose mask is empty, is left out with its reason.

    Args:
        pairs: The data set.
        progress: Called for each pair.

    Raises:
        DatasetError: If a mask has another shape than its image (a smaller or larger copy is accepted), an authentic
            image has a mask with tampered pixels, or most masks mark more than half of their image: inverted.
    """
    looks = [_look_at(pair, progress) for pair in pairs]
    mismatched = [look.mismatch for look in looks if look.mismatch]
    if mismatched:
        raise DatasetError(
            f"{len(mismatched)} masks do not have the shape (height, width) of their image: "
            f"{'; '.join(mismatched[:_LISTED])}. Check the pairing, and whether images were turned or cropped."
        )
    shares = [look.share for look in looks if not look.pair.authentic and look.share is not None]
    if shares and median(shares) > MAX_MEDIAN_SHARE:
        raise DatasetError(
            f"The masks mark {median(shares):.0%} of their image in the median: inverted? "
            "Expected 255 = tampered, 0 = authentic."
        )
    usable = [look for look in looks if not look.fault]
    return CheckedSet(
        usable=tuple(look.pair for look in usable),
        skipped=tuple((look.pair, look.fault) for look in looks if look.fault),
        resized=sum(look.resized for look in usable),
    )


def mask_of_size(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask and bring it to (height, width) by nearest neighbour where it differs."""
    mask = read_mask(path)
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.bool_)


def _look_at(pair: ImagePair, progress: Callable[[], None] | None) -> _Look:
    if progress is not None:
        progress()
    try:
        size = image_size(pair.image)
        mask = read_mask(pair.mask) if pair.mask is not None else None
    except UnreadableImageError as error:
        return _Look(pair, fault=str(error))
    if mask is None:
        return _Look(pair)
    share = float(mask.mean())
    if pair.authentic and share:
        raise DatasetError(f"{pair.image} is listed as authentic, but its mask {pair.mask} is not empty.")
    fits = _same_aspect(mask.shape, size)
    return _Look(
        pair,
        share=share,
        resized=mask.shape != size,
        fault="" if share or pair.authentic else f"The mask {pair.mask} of a tampered image is empty.",
        mismatch="" if fits else f"{pair.image} has {size}, its mask {mask.shape}",
    )


def _same_aspect(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    ratio = first[0] * second[1] / (first[1] * second[0])
    return abs(ratio - 1) <= ASPECT_TOLERANCE
