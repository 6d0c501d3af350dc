"""Lists of images and masks: what is checked when one is read, and how one is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly, LoadedSet
from nclforensics.errors import DatasetError, OutputError

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
        fault = _fault(pair)
        if fault is not None:  # its name may be one that no path can have, with a NUL: only what is there is resolved
            found.append(fault)
        elif (place := pair.image.resolve()) in usable:
            found.append(Anomaly("duplicate", "error", "Listed more than once; the first entry was used.", pair.image))
        else:
            usable[place] = pair
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


def check_names(names: Iterable[str]) -> None:
    """Refuse names that a list, a text in UTF-8, cannot hold.

    Raises:
        DatasetError: With the first such name.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"Expected names in UTF-8, the only ones that a list can hold, found {name!r}. "
                "Rename it, or convert with --to mani, which copies images and needs no list."
            ) from error


def write_list(text: str, path: Path) -> None:
    """Write a list in UTF-8 so that it is seen whole or not at all.

    Raises:
        DatasetError: If a name in it is not valid in UTF-8.
        OutputError: If the file cannot be written.
    """
    check_names(text.splitlines())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_bytes(text.encode())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


def _fault(pair: ImagePair) -> Anomaly | None:
    if not os.path.isfile(pair.image):  # noqa: PTH113 - unlike Path.is_file it never raises
        return Anomaly("unreadable", "error", "The list names this image, but it does not exist.", pair.image)
    if pair.mask is None:
        message = "Listed as tampered, but without a mask."
        return None if pair.authentic else Anomaly("unpaired-image", "error", message, pair.image)
    if not os.path.isfile(pair.mask):  # noqa: PTH113
        return Anomaly("unpaired-image", "error", f"Its mask {pair.mask} does not exist.", pair.image)
    return None
