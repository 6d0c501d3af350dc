"""Data sets as lists of image and mask: manifest.csv, and the two layouts of IMDL-BenCo.

Images and masks are paired by name, never by the order of two listings: one missing file would shift all pairs after
it without any error. Everything that does not pair up, is missing or appears twice stops the reading.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nclforensics.data.images import IMAGE_SUFFIXES
from nclforensics.errors import DatasetError, MissingInputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST_NAME: Final = "manifest.csv"
_COLUMNS: Final = ("image", "mask", "authentic")
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no", ""})
_MASK_ENDINGS: Final = ("_gt", "_mask")
_NEGATIVE: Final = "negative"
_IGNORED_SUFFIXES: Final = frozenset({".db", ".txt", ".md", ".csv", ".json", ".ini", ".html", ".xlsx"})
_LISTED: Final = 5  # so many names are spelled out in an error
# What each named benchmark consists of; their loaders are not part of this version.
BENCHMARKS: Final = {
    "casia": "CASIA v2 (5,123 tampered, 7,491 authentic) with the corrected masks, and CASIA v1 (920 and 800)",
    "casiav1": "CASIA v1 (920 tampered, 800 authentic) and its masks",
    "casiav2": "CASIA v2 (5,123 tampered, 7,491 authentic) and the corrected masks",
    "cocoglide": "CocoGlide (512 tampered, 512 authentic) and its masks",
    "columbia": "Columbia Uncompressed (180 spliced, 183 authentic) and its edge masks",
    "coverage": "COVERAGE (100 copy-moves, 100 authentic) and its forged-region masks",
    "defacto": "DEFACTO (copy-move, splicing, inpainting) and its probe masks",
    "dso-1": "DSO-1 (100 splices, 100 authentic) and its masks, which are inverted",
    "imd2020": "IMD2020 (2,010 tampered images of 414 originals) and its masks",
    "nist16": "NIST Nimble 2016 (564 tampered probes) and its reference CSV, whose masks are inverted",
}


@dataclass(frozen=True)
class ImagePair:
    """One image of a data set.

    Attributes:
        image: Path of the photograph.
        mask: Path of its ground truth; None for an authentic image.
        authentic: Whether no pixel of the image is tampered.
        mask_rule: Which pixels of the mask file mean tampered: a key of `nclforensics.data.ground_truth.MASK_RULES`.
        kind: "splice", "copy-move" or "removal"; "" where the set does not say.
        group: Images of one group come from one base image, so a split keeps them together; "" stands for the image
            alone.
    """

    image: Path
    mask: Path | None
    authentic: bool
    mask_rule: str = "bright"
    kind: str = ""
    group: str = ""


def read_dataset(spec: str) -> list[ImagePair]:
    """Read a data set from a path: its layout is recognized from what lies there.

    Args:
        spec: A folder with a manifest.csv, a CSV file of that form, a ManiDataset folder (Tp/ and Gt/, optional Au/)
            or a JsonDataset file. An existing path is preferred to a benchmark of the same name.

    Raises:
        MissingInputError: If there is no such path.
        DatasetError: If the set is incomplete, mispaired or empty, or `spec` names a benchmark.
    """
    path = Path(spec)
    if not path.exists():
        _refuse_benchmark(spec)
        raise MissingInputError(f"Expected a data set at {path}, found no such file or folder.")
    if path.is_file() and path.suffix.lower() == ".json":
        return _read_json(path)
    if path.is_file() or (path / MANIFEST_NAME).is_file():
        return read_manifest(path)
    if (path / "Tp").is_dir() and (path / "Gt").is_dir():
        return _read_tp_gt(path)
    raise DatasetError(f"Expected {MANIFEST_NAME}, or the folders Tp and Gt, in {path}; found neither.")


def read_manifest(folder_or_csv: Path) -> list[ImagePair]:
    """Read a manifest: a CSV file with the columns image, mask and authentic (others are ignored).

    Paths are relative to the file. `authentic` is 1 or 0; where the column is missing, an image without mask is
    authentic.

    Raises:
        MissingInputError: If there is no such file.
        DatasetError: If a column, an image or a mask is missing, a value is unknown or an image appears twice.
    """
    path = folder_or_csv / MANIFEST_NAME if folder_or_csv.is_dir() else folder_or_csv
    if not path.is_file():
        raise MissingInputError(f"Expected a manifest at {path}, found no such file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not rows or "image" not in rows[0]:
        found = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise DatasetError(f"Expected a CSV with the columns {', '.join(_COLUMNS)} in {path}, found {found}.")
    pairs = [_pair_of_row(row, path, line=number) for number, row in enumerate(rows, start=2)]
    return _checked(pairs, path)


def write_manifest(pairs: Iterable[ImagePair], path: Path) -> None:
    """Write a manifest that `read_manifest` gives back; paths below its folder are written relative to it.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = [
        (_relative(pair.image, path.parent), _relative(pair.mask, path.parent), int(pair.authentic)) for pair in pairs
    ]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *lines])
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path.absolute()).as_posix()


def _pair_of_row(row: dict[str, str], path: Path, *, line: int) -> ImagePair:
    mask = path.parent / row["mask"].strip() if row.get("mask", "").strip() else None
    word = row.get("authentic", "0" if mask else "1").strip().lower()
    if word not in _TRUE | _FALSE:
        raise DatasetError(f'Expected 1 or 0 in the column "authentic" of {path}, line {line}, found "{word}".')
    if not row["image"].strip():
        raise DatasetError(f'Expected a path in the column "image" of {path}, line {line}, found nothing.')
    return ImagePair(image=path.parent / row["image"].strip(), mask=mask, authentic=word in _TRUE)


def _read_json(path: Path) -> list[ImagePair]:
    """Read a JsonDataset: [["image", "mask"], ["image", "Negative"], ...]."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}.") from error
    pairs: list[ImagePair] = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(item, str) for item in entry)):  # noqa: PLR2004
            raise DatasetError(
                f'Expected ["image", "mask" or "Negative"] in {path}, entry {number}, found {entry!r:.80}.'
            )
        authentic = entry[1].lower() == _NEGATIVE
        pairs.append(ImagePair(path.parent / entry[0], None if authentic else path.parent / entry[1], authentic))
    return _checked(pairs, path)


def _read_tp_gt(folder: Path) -> list[ImagePair]:
    """Read a ManiDataset: Tp/x.jpg belongs to Gt/x.png, Gt/x_gt.png or Gt/x_mask.png, the exact name first."""
    images, masks = _by_stem(folder / "Tp"), _by_stem(folder / "Gt")
    found = {stem: masks.pop(stem) for stem in images if stem in masks}
    for stem in [stem for stem in images if stem not in found]:
        candidates = [stem + ending for ending in _MASK_ENDINGS if stem + ending in masks]
        if len(candidates) > 1:
            raise DatasetError(f"Several masks in {folder / 'Gt'} fit the image {stem}: {', '.join(candidates)}.")
        if candidates:
            found[stem] = masks.pop(candidates[0])
    lost = [images[stem] for stem in images if stem not in found]
    if lost or masks:
        raise DatasetError(
            f"Images and masks in {folder} do not pair up: {len(lost)} images without mask{_listed(lost)}, "
            f"{len(masks)} masks without image{_listed(masks.values())}."
        )
    pairs = [ImagePair(images[stem], found[stem], authentic=False) for stem in images]
    if (folder / "Au").is_dir():
        pairs += [ImagePair(path, None, authentic=True) for path in _files(folder / "Au")]
    return _checked(pairs, folder)


def _by_stem(folder: Path) -> dict[str, Path]:
    paths = _files(folder)
    twice = [stem for stem, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise DatasetError(f"Several files in {folder} share a name up to the suffix: {', '.join(twice[:_LISTED])}.")
    return {path.stem: path for path in paths}


def _files(folder: Path) -> list[Path]:
    """List the images of a folder; an unknown kind of file is an error, since leaving it out would go unnoticed."""
    names = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    paths = [path for path in names if path.suffix.lower() not in _IGNORED_SUFFIXES]
    unknown = [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES]
    if unknown:
        raise DatasetError(f"Expected only image files in {folder}, found {len(unknown)} others{_listed(unknown)}.")
    return paths


def _checked(pairs: list[ImagePair], where: Path) -> list[ImagePair]:
    if not pairs:
        raise DatasetError(f"Expected at least one image in {where}, found none.")
    twice = [path for path, count in Counter(pair.image.resolve() for pair in pairs).items() if count > 1]
    if twice:
        raise DatasetError(f"{len(twice)} images appear more than once in {where}{_listed(twice)}.")
    bare = [pair.image for pair in pairs if not pair.authentic and pair.mask is None]
    if bare:
        raise DatasetError(f"{len(bare)} tampered images in {where} have no mask{_listed(bare)}.")
    wanted = [path for pair in pairs for path in (pair.image, pair.mask) if path is not None]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise DatasetError(f"{len(missing)} files named in {where} do not exist{_listed(missing)}.")
    return pairs


def _listed(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    if not names:
        return ""
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" ({', '.join(names[:_LISTED])}{rest})"


def _refuse_benchmark(spec: str) -> None:
    contents = BENCHMARKS.get(spec.lower())
    if contents is not None:
        raise DatasetError(
            f'The benchmark "{spec}" cannot be loaded by name yet. It needs {contents}; '
            f"make a folder of them with a {MANIFEST_NAME} (columns {', '.join(_COLUMNS)}) and give its path."
        )
