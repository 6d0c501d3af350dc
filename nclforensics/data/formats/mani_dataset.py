"""IMDLBenCo's ManiDataset: a folder with Tp/ (tampered images) and Gt/ (masks), here with an optional Au/ (authentic).

IMDLBenCo pairs the two folders by sorted order (IMDLBenCo/datasets/iml_datasets.py, 0.1.45), so one missing file shifts
all pairs after it without an error. Reading pairs by name instead; writing numbers the files, so that both ways agree.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nclforensics.data.formats.plain_masks import new_folder, write_plain_mask
from nclforensics.data.listing import listed_set
from nclforensics.data.loaded_set import Anomaly
from nclforensics.data.loaders.pairing import folder_in, images_in, pair_by_stem, unpaired
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet

_MASK_ENDINGS: Final = ("", "_gt", "_mask")
_BESIDE_IMAGES: Final = frozenset({".db", ".txt", ".md", ".csv", ".json", ".ini", ".html", ".xlsx"})


def is_mani_dataset(folder: Path) -> bool:
    """Return whether a folder holds Tp and Gt, in any case of their letters."""
    return {"tp", "gt"} <= {path.name.casefold() for path in folder.iterdir() if path.is_dir()}


def read_mani_dataset(folder: Path) -> LoadedSet:
    """Read a ManiDataset: Tp/x.jpg belongs to Gt/x.png, Gt/x_gt.png or Gt/x_mask.png, the exact name first.

    Raises:
        DatasetError: If there is no image.
    """
    tampered, masks, authentic = (folder_in(folder, name) for name in ("Tp", "Gt", "Au"))
    assert tampered is not None, "the caller asked is_mani_dataset"
    assert masks is not None, "the caller asked is_mani_dataset"
    pairing = pair_by_stem(
        images_in(tampered), images_in(masks), lambda stem: tuple(stem + ending for ending in _MASK_ENDINGS)
    )
    anomalies = [replace(anomaly, severity="error") for anomaly in unpaired(pairing)]
    anomalies += [fault for each in (tampered, masks, authentic) if each is not None for fault in _foreign(each)]
    pairs = [ImagePair(image, mask, authentic=False) for image, mask in pairing.matched]
    pairs += [ImagePair(image, None, authentic=True) for image in images_in(authentic)]
    return listed_set(folder, pairs, anomalies)


def write_mani_dataset(pairs: Iterable[ImagePair], folder: Path) -> None:
    """Write a ManiDataset: images are copied byte for byte, masks written as PNG of 0 and 255 in their image's size.

    Every name begins with a number, so that no two are the same and the sorted order of Tp and Gt is the same.
    Authentic images go to Au/, which IMDLBenCo does not read: its ManiDataset knows only tampered ones.

    Args:
        pairs: What to write.
        folder: A new or empty folder.

    Raises:
        OutputError: If the folder holds anything already, or a file cannot be written.
        DatasetError: If a mask has the width and height of its image swapped.
        UnreadableImageError: If a mask or image cannot be decoded.
    """
    new_folder(folder)
    listed = list(pairs)
    width = len(str(len(listed)))
    try:
        for part in ("Tp", "Gt", "Au"):
            (folder / part).mkdir()
        for number, pair in enumerate(listed, start=1):
            prefix = f"{number:0{width}d}"
            shutil.copyfile(pair.image, folder / ("Au" if pair.authentic else "Tp") / f"{prefix}_{pair.image.name}")
            if not pair.authentic:
                write_plain_mask(pair, folder / "Gt" / f"{prefix}_{pair.image.stem}.png")
    except OSError as error:
        raise OutputError(f"Cannot write {folder}: {error.strerror or error}.") from error


def _foreign(folder: Path) -> list[Anomaly]:
    """List files of an unknown kind: leaving one out would go unnoticed."""
    images = set(images_in(folder))
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return [
        Anomaly("unreadable", "error", f"{path.suffix or 'This'} is no kind of image that can be read here.", path)
        for path in files
        if path not in images and path.suffix.lower() not in _BESIDE_IMAGES
    ]
