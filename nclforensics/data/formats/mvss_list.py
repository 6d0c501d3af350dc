"""MVSS-Net's lists (dong03/MVSS-Net, data/README.md): one image a line, `image mask label`, separated by spaces.

The mask of an authentic image is `None` and its label 0. Labels above 0 mean tampered; CASIAv1plus.txt, which has a 2,
writes 1 for a copy-move (Sp_S_...) and 2 for a splice (Sp_D_...).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nclforensics.data.formats.plain_masks import plain_masks
from nclforensics.data.images import IMAGE_SUFFIXES
from nclforensics.data.listing import listed_set, write_list
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet

_FILE: Final = rf".+?(?:{'|'.join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES, reverse=True))})"
# File names may hold spaces ("CASIA 2 Groundtruth/..."): a name ends where an image suffix meets a space.
_LINE: Final = re.compile(rf"({_FILE})\s+(None|{_FILE})\s+(\d+)", re.IGNORECASE)
_SPLICE: Final = 2
_KINDS: Final = {1: "copy-move", _SPLICE: "splice"}


def read_mvss_list(path: Path) -> LoadedSet:
    """Read an MVSS-Net list; its paths are relative to the file.

    Raises:
        DatasetError: If a line is of another form, or there is none.
    """
    return listed_set(path, mvss_pairs(path))


def mvss_pairs(path: Path) -> list[ImagePair]:
    """Return the pairs of an MVSS-Net list as written, without looking for their files.

    Raises:
        DatasetError: If a line is of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a text file in UTF-8: {error}.") from error
    rows = [_row(line.strip(), path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    has_kinds = any(label == _SPLICE for _, _, label in rows)
    return [
        ImagePair(
            image=path.parent / image,
            mask=None if mask.casefold() == "none" else path.parent / mask,
            authentic=label == 0,
            kind=_KINDS.get(label, "") if has_kinds else "",
        )
        for image, mask, label in rows
    ]


def write_mvss_list(pairs: Iterable[ImagePair], path: Path, masks_dir: Path) -> None:
    """Write an MVSS-Net list with absolute paths and the labels 0 and 1.

    Args:
        pairs: What to write.
        path: The text file; an existing one is replaced.
        masks_dir: Where masks that are not of 0 and 255 are written anew; must be new or empty if there are any.

    Raises:
        OutputError: If a name cannot stand in such a list, the folder holds anything already, or a file cannot be
            written.
        DatasetError: If a mask has the width and height of its image swapped, or a name is not valid in UTF-8.
        UnreadableImageError: If a mask or image cannot be decoded.
    """
    listed = list(pairs)
    masks = plain_masks(listed, masks_dir)
    lines = [_line(pair, mask) for pair, mask in zip(listed, masks, strict=True)]
    write_list("".join(lines), path)


def _line(pair: ImagePair, mask: Path | None) -> str:
    image, label = pair.image.absolute().as_posix(), int(not pair.authentic)
    written = (image, "None" if mask is None else mask.absolute().as_posix(), str(label))
    match = _LINE.fullmatch(" ".join(written))
    if match is None or match.groups() != written:
        raise OutputError(f"The name of {pair.image} cannot stand in a list whose columns are separated by spaces.")
    return " ".join(written) + "\n"


def _row(line: str, path: Path, number: int) -> tuple[str, str, int]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise DatasetError(f'Expected "IMAGE MASK-or-None LABEL" in {path}, line {number}, found "{line:.80}".')
    image, mask, label = match.groups()
    return image, mask, int(label)
