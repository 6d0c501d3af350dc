"""Checks of a data set that somebody wrote down as a list of images and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly, LoadedSet
from nclforensics.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair

_SPELLED_OUT: Final = 5  # so many faults are listed in an error


def listed_set(root: Path, pairs: Iterable[ImagePair], anomalies: Iterable[Anomaly] = ()) -> LoadedSet:
    """Return a list of images and masks as a set: what cannot be used is left out, each with an error.

    Args:
        root: The file or folder that the list was read from.
        pairs: The pairs as listed.
        anomalies: What was noticed while reading.

    Raises:
        DatasetError: If nothing is listed.
    """
    listed = list(pairs)
    found = list(anomalies)
    if not listed and not found:
        raise DatasetError(f"Expected at least one image in {root}, found none.")
    usable: dict[Path, ImagePair] = {}
    for pair in listed:
        place = pair.image.resolve()
        fault = _twice(pair) if place in usable else _fault(pair)
        if fault is None:
            usable[place] = pair
        else:
            found.append(fault)
    return LoadedSet(str(root), root, tuple(usable.values()), tuple(found))


def faultless(loaded: LoadedSet) -> list[ImagePair]:
    """Return the pairs of a set without errors.

    Raises:
        DatasetError: If there is any anomaly of severity "error"; the first ones are named.
    """
    errors = [anomaly for anomaly in loaded.anomalies if anomaly.severity == "error"]
    if errors:
        named = "; ".join(
            f"{error.path}: {error.message}" if error.path else error.message for error in errors[:_SPELLED_OUT]
        )
        rest = f"; and {len(errors) - _SPELLED_OUT} more" if len(errors) > _SPELLED_OUT else ""
        raise DatasetError(f"{len(errors)} faults in {loaded.root}: {named}{rest}")
    return list(loaded.pairs)


def _twice(pair: ImagePair) -> Anomaly:
    return Anomaly("duplicate", "error", "Listed more than once; the first entry was used.", pair.image)


def _fault(pair: ImagePair) -> Anomaly | None:
    if not pair.image.is_file():
        return Anomaly("unreadable", "error", "The list names this image, but it does not exist.", pair.image)
    if pair.mask is None:
        message = "Listed as tampered, but without a mask."
        return None if pair.authentic else Anomaly("unpaired-image", "error", message, pair.image)
    if not pair.mask.is_file():
        return Anomaly("unpaired-image", "error", f"Its mask {pair.mask} does not exist.", pair.image)
    return None
