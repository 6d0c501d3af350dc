"""What all loaders share: listing folders, pairing by name, and comparing what was found with what was published.

Images and masks are paired by a rule about their names, never by the order of two listings: one missing file would
shift all pairs after it without any error. What does not pair up is left out and reported, one anomaly a file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nclforensics.data.images import IMAGE_SUFFIXES, image_size
from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet
from nclforensics.errors import DatasetError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair

_NO_IMAGES: Final = frozenset(
    {".db", ".txt", ".md", ".csv", ".json", ".ini", ".html", ".xls", ".xlsx", ".zip", ".rar", ".pdf", ".m", ".py"}
)
_DIGITS: Final = re.compile(r"(\d+)")
# More images than this share without a mask: the masks are those of another set, or named by a rule not known here.
_LOST_SHARE: Final = 0.1
_LISTED: Final = 5  # so many names are spelled out in a note


@dataclass(frozen=True)
class Pairing:
    """What pairing two listings gave.

    Attributes:
        matched: Image and mask, in natural order of the images.
        images: Images without a mask.
        masks: Masks without an image.
        anomalies: Files that share a name up to the suffix; none of them was used.
    """

    matched: tuple[tuple[Path, Path], ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    anomalies: tuple[Anomaly, ...] = ()


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key under which 2.tif comes before 10.tif, and upper and lower case together."""
    pieces = _DIGITS.split(str(path).casefold())
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def images_in(*folders: Path | None) -> list[Path]:
    """Return the image files that lie in some folders, not below them, in natural order.

    The case of suffixes does not matter; hidden files (.DS_Store) are left out, and so are folders that are None.
    """
    files = [path for folder in folders if folder is not None for path in folder.iterdir()]
    wanted = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    return sorted((path for path in wanted if path.is_file()), key=natural_key)


def folders_in(root: Path) -> list[Path]:
    """Return the sub-folders of a folder in natural order, without hidden ones and __MACOSX; none if it is missing."""
    if not root.is_dir():
        return []
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return sorted(folders, key=natural_key)


def folder_in(root: Path, *names: str) -> Path | None:
    """Return the first of some sub-folders that exists, None if none does; upper and lower case are the same.

    Archives often unpack into a folder of their own: if nothing fits and the root holds a single folder, that is
    searched as well (__MACOSX beside it does not count).

    Args:
        root: Where to look.
        names: Relative paths in order of preference, with "/" between their parts.
    """
    inner = folders_in(root)
    places = [root, *inner] if len(inner) == 1 else [root]
    found = (_descend(place, name) for place in places for name in names)
    return next((path for path in found if path is not None), None)


def unknown_layout(facts: BenchmarkFacts, root: Path, wanted: str) -> DatasetError:
    """Return the error for a folder that holds no known layout of a benchmark.

    Args:
        facts: The benchmark.
        root: The folder that was searched.
        wanted: What was looked for, such as "a folder Tp of tampered images".
    """
    return DatasetError(f"Expected {facts.title} in {root}, found no {wanted}. A known layout is:\n{facts.tree}")


def pair_by_stem(images: Iterable[Path], masks: Iterable[Path], candidates: Callable[[str], Iterable[str]]) -> Pairing:
    """Pair images with masks by their names without suffix; upper and lower case are the same.

    Args:
        images: Tampered images.
        masks: Mask files.
        candidates: Takes an image's stem, returns the stems that its mask may have, in order of preference.
    """
    by_image, image_twins = _by_stem(images)
    by_mask, mask_twins = _by_stem(masks)
    stems = {stem: [each.casefold() for each in candidates(image.stem)] for stem, image in by_image.items()}
    found: dict[str, Path] = {}
    # All first choices come before any second one: the mask of a.png may be called as the image a_mask.png is.
    for rank in range(max(map(len, stems.values()), default=0)):
        for stem, wanted in stems.items():
            if stem not in found and rank < len(wanted) and wanted[rank] in by_mask:
                found[stem] = by_mask.pop(wanted[rank])
    matched = tuple((image, found[stem]) for stem, image in by_image.items() if stem in found)
    alone = tuple(image for stem, image in by_image.items() if stem not in found)
    return Pairing(matched, alone, tuple(by_mask.values()), (*image_twins, *mask_twins))


def unpaired(pairing: Pairing) -> list[Anomaly]:
    """Return the anomalies of a pairing: one for every file left over, and an error if images were lost in bulk."""
    anomalies = list(pairing.anomalies)
    total = len(pairing.matched) + len(pairing.images)
    anomalies += lost_in_bulk(len(pairing.images), total, "have no mask: these masks belong to other names")
    anomalies += [Anomaly("unpaired-image", "warning", "No mask fits its name.", path) for path in pairing.images]
    anomalies += [Anomaly("unpaired-mask", "warning", "No image fits its name.", path) for path in pairing.masks]
    return anomalies


def lost_in_bulk(lost: int, total: int, reason: str) -> list[Anomaly]:
    """Return an error if more than a tenth of a set's tampered images is lost; `reason` goes on after their number."""
    if lost <= _LOST_SHARE * total:
        return []
    return [Anomaly("unpaired-image", "error", f"{lost} of {total} tampered images {reason}.")]


def sizes_differ(image: Path, mask: Path) -> bool:
    """Return whether the headers of an image and its mask declare different sizes; False if one is not readable."""
    try:
        return image_size(image) != image_size(mask)
    except UnreadableImageError:
        return False


def finished_set(
    facts: BenchmarkFacts,
    root: Path,
    pairs: Iterable[ImagePair],
    anomalies: Iterable[Anomaly],
    *,
    left_out: Iterable[Path] = (),
) -> LoadedSet:
    """Return a benchmark as loaded: pairs in natural order, tampered ones first, with the checks that need no pixels.

    Compares the numbers with the published ones, and reports the files beside the images and masks that nothing used.

    Args:
        facts: The benchmark.
        root: The folder it was read from.
        pairs: Usable images.
        anomalies: What the loader found.
        left_out: Files that were left out for a reason, beside those that the anomalies name.

    Raises:
        DatasetError: If there is no pair.
    """
    ordered = tuple(sorted(pairs, key=lambda pair: (pair.authentic, natural_key(pair.image))))
    found = list(anomalies)
    if not ordered:
        raise unknown_layout(facts, root, f"image that could be used{_why(found)}")
    named = {anomaly.path for anomaly in found if anomaly.path is not None}
    found += _strays(ordered, named.union(left_out))
    found += count_anomalies(facts, ordered)
    return LoadedSet(facts.name, root, ordered, tuple(found), facts)


def _why(found: Sequence[Anomaly]) -> str:
    """Return what was wrong with the files that could not be used, by the first of them."""
    files = [anomaly for anomaly in found if anomaly.path is not None]
    if not files:
        return ""
    first = files[0]
    return f" ({len(files)} could not; {first.path}: {first.message.rstrip('.')})"


def count_anomalies(facts: BenchmarkFacts, pairs: Iterable[ImagePair]) -> list[Anomaly]:
    """Compare the numbers of usable images with the published ones."""
    labels = [pair.authentic for pair in pairs]
    numbers = (("tampered", facts.tampered, labels.count(False)), ("authentic", facts.authentic, labels.count(True)))
    return [
        Anomaly("count", "warning", f"Expected {expected} {kind} images, found {found} usable ones.")
        for kind, expected, found in numbers
        if found != expected
    ]


def _descend(root: Path, name: str) -> Path | None:
    """Follow a relative path, part by part, whatever the case of its letters."""
    folder = root
    for part in name.split("/"):
        fitting = [path for path in folders_in(folder) if path.name.casefold() == part.casefold()]
        if not fitting:
            return None
        folder = next((path for path in fitting if path.name == part), fitting[0])
    return folder


def _by_stem(paths: Iterable[Path]) -> tuple[dict[str, Path], list[Anomaly]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths, key=natural_key):
        groups[path.stem.casefold()].append(path)
    message = "{} and {} share a name up to the suffix; neither was used."
    twins = [
        Anomaly("duplicate", "error", message.format(group[0].name, group[1].name), group[0])
        for group in groups.values()
        if len(group) > 1
    ]
    return {stem: group[0] for stem, group in groups.items() if len(group) == 1}, twins


def _strays(pairs: Iterable[ImagePair], known: set[Path]) -> list[Anomaly]:
    """Report the files that lie among the images and masks and that nothing speaks of, one note a folder."""
    used = {path for pair in pairs for path in (pair.image, pair.mask) if path is not None}
    spoken_for = used | known
    folders = sorted({path.parent for path in used}, key=natural_key)
    notes = []
    for folder in folders:
        files = sorted((path for path in folder.iterdir() if path.is_file()), key=natural_key)
        strays = [path.name for path in files if path not in spoken_for and not _is_bookkeeping(path)]
        if strays:
            more = f" and {len(strays) - _LISTED} more" if len(strays) > _LISTED else ""
            message = f"{len(strays)} files by other names were not used: {', '.join(strays[:_LISTED])}{more}."
            notes.append(Anomaly("ignored", "note", message, folder))
    return notes


def _is_bookkeeping(path: Path) -> bool:
    return path.name.startswith(".") or path.suffix.lower() in _NO_IMAGES
