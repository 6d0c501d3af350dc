"""One image of a data set with its mask, and manifest.csv, this project's own list of them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nclforensics.data.ground_truth import MASK_RULES
from nclforensics.data.listing import faultless, listed_set, write_list
from nclforensics.errors import DatasetError, MissingInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nclforensics.data.loaded_set import LoadedSet

MANIFEST_NAME: Final = "manifest.csv"
_COLUMNS: Final = ("image", "mask", "authentic")
_OPTIONAL: Final = ("mask_rule", "kind", "group")  # written only if some pair uses them
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no", ""})
_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ImagePair:
    """One image of a data set.

    Attributes:
        image: Path of the photograph.
        mask: Path of its ground truth; None for an authentic image.
        authentic: Whether no pixel of the image is tampered.
        mask_rule: Which pixels of the mask file mean tampered: a key of `nclforensics.data.ground_truth.MASK_RULES`.
        kind: "splice", "copy-move" or "removal"; "" where the set does not say.
        group: The base image that an image was made of, or several joined by "+": a split keeps what shares one on one
            side. "" stands for the image alone.
    """

    image: Path
    mask: Path | None
    authentic: bool
    mask_rule: str = "bright"
    kind: str = ""
    group: str = ""

    @property
    def bases(self) -> tuple[str, ...]:
        """The base images of `group`, or the image's own name."""
        return tuple(filter(None, self.group.split("+"))) or (self.image.name,)


def read_manifest(folder_or_csv: Path) -> list[ImagePair]:
    """Read a manifest as `load_manifest` does, and refuse it if anything about it is wrong.

    Raises:
        MissingInputError: If there is no such file.
        DatasetError: If an image or a mask is missing, or an image appears twice.
    """
    return faultless(load_manifest(folder_or_csv))


def load_manifest(folder_or_csv: Path) -> LoadedSet:
    """Read a manifest: a CSV file with the columns image, mask and authentic.

    Paths are relative to the file. `authentic` is 1 or 0; where the column is missing, an image without mask is
    authentic; one of `mask` and `authentic` has to be there. The columns mask_rule, kind and group, all optional, hold
    the attributes of `ImagePair` with these names. Where group is missing or empty, the hashes in a column photos take
    its place: sets of `nclf forge` had no group once. Any other column is ignored. Names of columns may be in capitals
    or have blanks around.

    Raises:
        MissingInputError: If there is no such file.
        DatasetError: If the file is no CSV, a column is missing or a value is unknown.
    """
    path = folder_or_csv / MANIFEST_NAME if folder_or_csv.is_dir() else folder_or_csv
    if not path.is_file():
        raise MissingInputError(f"Expected a manifest at {path}, found no such file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            # " mask" or "Mask" is that column too: passed over, every forgery would count as authentic.
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not rows or "image" not in rows[0] or not rows[0].keys() & {"mask", "authentic"}:
        found = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise DatasetError(f"Expected a CSV with the columns {', '.join(_COLUMNS)} in {path}, found {found}.")
    pairs = [_pair_of_row(row, path, line=number) for number, row in enumerate(rows, start=2)]
    return replace(listed_set(path, pairs), name=str(folder_or_csv))


def write_manifest(pairs: Iterable[ImagePair], path: Path) -> None:
    """Write a manifest that `read_manifest` gives back; paths below its folder are written relative to it.

    Raises:
        DatasetError: If a name is not valid in UTF-8.
        OutputError: If the file cannot be written.
    """
    listed = list(pairs)
    plain = ImagePair(Path(), None, authentic=True)
    extra = [name for name in _OPTIONAL if any(getattr(pair, name) != getattr(plain, name) for pair in listed)]
    lines = [
        (
            _relative(pair.image, path.parent),
            _relative(pair.mask, path.parent),
            int(pair.authentic),
            *(getattr(pair, name) for name in extra),
        )
        for pair in listed
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([(*_COLUMNS, *extra), *lines])
    write_list(text.getvalue(), path)


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path.absolute()).as_posix()


def _pair_of_row(row: dict[str, str], path: Path, *, line: int) -> ImagePair:
    cells = {name: (row.get(name) or "").strip() for name in (*_COLUMNS, *_OPTIONAL)}
    mask = path.parent / cells["mask"] if cells["mask"] else None
    word = cells["authentic"].lower() if "authentic" in row else ("0" if mask else "1")
    if word not in _TRUE | _FALSE:
        raise DatasetError(f'Expected 1 or 0 in the column "authentic" of {path}, line {line}, found "{word}".')
    if not cells["image"]:
        raise DatasetError(f'Expected a path in the column "image" of {path}, line {line}, found nothing.')
    rule = cells["mask_rule"] or "bright"
    if rule not in MASK_RULES:
        known = ", ".join(MASK_RULES)
        raise DatasetError(f'Expected one of {known} in the column "mask_rule" of {path}, line {line}, found "{rule}".')
    return ImagePair(
        image=path.parent / cells["image"],
        mask=mask,
        authentic=word in _TRUE,
        mask_rule=rule,
        kind=_kind(cells["kind"]),
        group=cells["group"] or _group_of_photos(row.get("photos") or ""),
    )


def _group_of_photos(cell: str) -> str:
    """Return the photos whose hashes `nclf forge` listed as a group; "" if the cell holds anything else."""
    words = cell.split()
    return "+".join(dict.fromkeys(words)) if all(map(_SHA256.fullmatch, words)) else ""


def _kind(word: str) -> str:
    """Return a kind as `ImagePair` calls it; `nclf forge` writes copy_move, and authentic where there is none."""
    return "" if word == "authentic" else word.replace("_", "-")
