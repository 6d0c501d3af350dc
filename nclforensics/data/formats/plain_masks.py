"""Masks as every other tool reads them: PNG, one channel, 0 = authentic, 255 = tampered, in their image's size.

IMDLBenCo takes a pixel as tampered where the mean of the channels exceeds 127.5, and insists that mask and image have
one size (IMDLBenCo/datasets/abstract_dataset.py, 0.1.45). It misreads inverted masks, masks of zeros and ones, and
Columbia's colours, so these are written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.images import image_size, read_samples
from nclforensics.errors import DatasetError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair


def new_folder(folder: Path) -> None:
    """Make a folder, or accept an empty one.

    Raises:
        OutputError: If it holds anything already: masks of somebody's data set must not be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror or error}.") from error
    if occupied:
        raise OutputError(f"Expected an empty or new folder at {folder}, found something there. Name another one.")


def plain_masks(pairs: Iterable[ImagePair], folder: Path) -> list[Path | None]:
    """Return a plain mask for every pair, None where it has none: its own if it is plain, else one written to a folder.

    Args:
        pairs: The pairs; their order is kept.
        folder: Where masks are written; made when the first one is, and must be new or empty then.

    Raises:
        OutputError: If the folder holds anything already, or a file cannot be written.
        DatasetError: If a mask has the width and height of its image swapped.
        UnreadableImageError: If a mask or image cannot be decoded.
    """
    masks: list[Path | None] = []
    taken: set[str] = set()
    for pair in pairs:
        if pair.mask is None or is_plain(pair):
            masks.append(pair.mask)
            continue
        if not taken:
            new_folder(folder)
        name = _free_name(pair.image.stem, taken)
        write_plain_mask(pair, folder / name)
        masks.append(folder / name)
    return masks


def is_plain(pair: ImagePair) -> bool:
    """Return whether a mask is already what every other tool reads: 0 and 255, white = tampered, the image's size."""
    assert pair.mask is not None, "an authentic image has no mask"
    samples = read_samples(pair.mask)
    grey = samples.ndim == 2 or bool(np.all(samples == samples[:, :, :1]))  # noqa: PLR2004 - one channel
    return (
        pair.mask_rule == "bright"
        and samples.dtype == np.uint8
        and grey
        and bool(np.all((samples == 0) | (samples == 255)))  # noqa: PLR2004 - white
        and samples.shape[:2] == image_size(pair.image)
    )


def write_plain_mask(pair: ImagePair, path: Path) -> None:
    """Write the mask of a pair as PNG of 0 and 255 in its image's size, nearest neighbour where the sizes differ.

    Raises:
        DatasetError: If the mask has the width and height of its image swapped.
        OutputError: If the file cannot be written.
        UnreadableImageError: If the mask or image cannot be decoded.
    """
    mask = read_ground_truth(pair).astype(np.uint8) * 255
    height, width = image_size(pair.image)
    if mask.shape == (width, height) != (height, width):
        raise DatasetError(
            f"The mask {pair.mask} has the width and height of {pair.image} swapped. Leave this pair out."
        )
    if mask.shape != (height, width):
        mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
    done, encoded = cv2.imencode(".png", mask)
    assert done, "PNG holds any uint8 array"
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


def _free_name(stem: str, taken: set[str]) -> str:
    """Return a name that no earlier mask has, on disks that do not tell upper from lower case either."""
    name, number = f"{stem}.png", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}_{number}.png"
    taken.add(name.casefold())
    return name
