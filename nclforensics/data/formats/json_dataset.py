"""IMDLBenCo's index files: JsonDataset, BalancedDataset and test_datasets.json.

    JsonDataset        [["/img/a.jpg", "/gt/a.png"], ["/img/b.jpg", "Negative"], ...]
    BalancedDataset    [["ManiDataset", "/path"], ["JsonDataset", "/path.json"], ...]
    test_datasets      {"CASIAv1": "/path", "Columbia": "/path.json", ...}

Paths may be relative to the file. IMDLBenCo checks only that the first image exists; here all files are checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from nclforensics.data.formats.mani_dataset import is_mani_dataset, read_mani_dataset
from nclforensics.data.formats.plain_masks import plain_masks
from nclforensics.data.listing import listed_set, write_list
from nclforensics.data.loaded_set import Anomaly
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet

_NEGATIVE: Final = "Negative"
_KINDS: Final = frozenset({"ManiDataset", "JsonDataset"})


def read_json_file(path: Path) -> LoadedSet:
    """Read a JsonDataset, or a BalancedDataset as the union of its sets.

    Raises:
        DatasetError: If it is no such file, is empty, or lists several sets that are to be evaluated one by one.
    """
    entries = _entries(path)
    if entries and all(first in _KINDS for first, _ in entries):
        return _read_balanced(entries, path)
    return listed_set(path, _pairs(entries, path))


def write_json_dataset(pairs: Iterable[ImagePair], path: Path, masks_dir: Path) -> None:
    """Write a JsonDataset that IMDLBenCo reads correctly; all paths in it are absolute, as IMDLBenCo needs them.

    Args:
        pairs: What to write.
        path: The JSON file; an existing one is replaced.
        masks_dir: Where masks that IMDLBenCo would misread are written anew; must be new or empty if there are any.

    Raises:
        OutputError: If the folder holds anything already, or a file cannot be written.
        DatasetError: If a mask has the width and height of its image swapped, or a name is not valid in UTF-8.
        UnreadableImageError: If a mask or image cannot be decoded.
    """
    listed = list(pairs)
    # IMDLBenCo counts an image with an all-black mask as tampered: authentic ones are Negative whatever mask they have.
    masks = iter(plain_masks([pair for pair in listed if not pair.authentic], masks_dir))
    words = [_NEGATIVE if pair.authentic else _absolute(next(masks)) for pair in listed]
    _write_json([[_absolute(pair.image), word] for pair, word in zip(listed, words, strict=True)], path)


def write_balanced_dataset(sets: Iterable[Path], path: Path) -> None:
    """Write a BalancedDataset of some ManiDataset folders and JsonDataset files.

    Raises:
        DatasetError: If a name is not valid in UTF-8.
        OutputError: If the file cannot be written.
    """
    named = [["ManiDataset" if each.is_dir() else "JsonDataset", _absolute(each)] for each in sets]
    _write_json(named, path)


def read_test_datasets(path: Path) -> dict[str, Path]:
    """Read the names and places of the sets in a test_datasets.json; each is a ManiDataset or a JsonDataset.

    Raises:
        DatasetError: If it is no such file.
    """
    content = _parsed(path)
    if not (isinstance(content, dict) and content and all(isinstance(place, str) for place in content.values())):
        raise DatasetError(f'Expected {{"NAME": "PATH", ...}} in {path}, found {content!r:.80}.')
    return {name: path.parent / place for name, place in content.items()}


def write_test_datasets(sets: Mapping[str, Path], path: Path) -> None:
    """Write a test_datasets.json.

    Raises:
        DatasetError: If a name is not valid in UTF-8.
        OutputError: If the file cannot be written.
    """
    _write_json({name: _absolute(place) for name, place in sets.items()}, path)


def _read_balanced(entries: list[tuple[str, str]], path: Path) -> LoadedSet:
    pairs: list[ImagePair] = []
    message = f"IMDLBenCo draws equally many images of each of these {len(entries)} sets; here they are one list."
    anomalies = [Anomaly("unreliable", "note", message, path)]
    for kind, place in entries:
        part = _read_part(kind, path.parent / place, path)
        pairs += part.pairs
        anomalies += part.anomalies
    return listed_set(path, pairs, anomalies)


def _read_part(kind: str, place: Path, path: Path) -> LoadedSet:
    if kind == "JsonDataset" and place.is_file():
        return listed_set(place, _pairs(_entries(place), place))
    if kind == "ManiDataset" and place.is_dir() and is_mani_dataset(place):
        return read_mani_dataset(place)
    raise DatasetError(f"Expected a {kind} at {place}, as {path} says, found none.")


def _entries(path: Path) -> list[tuple[str, str]]:
    content = _parsed(path)
    if isinstance(content, dict):
        raise DatasetError(
            f"{path} names several sets ({', '.join(content)}), and a figure over their union means nothing. "
            "Give the path of one of them."
        )
    if not isinstance(content, list):
        raise DatasetError(
            f'Expected [["IMAGE", "MASK"], ["IMAGE", "{_NEGATIVE}"], ...] in {path}, found {content!r:.80}.'
        )
    return [_two_words(entry, number, path) for number, entry in enumerate(content)]


def _pairs(entries: list[tuple[str, str]], path: Path) -> list[ImagePair]:
    pairs = []
    for image, mask in entries:
        authentic = mask.casefold() == _NEGATIVE.casefold()
        pairs.append(ImagePair(path.parent / image, None if authentic else path.parent / mask, authentic))
    return pairs


def _parsed(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}.") from error


def _two_words(entry: Any, number: int, path: Path) -> tuple[str, str]:  # noqa: ANN401 - whatever the file holds
    match entry:
        case [str(first), str(second)]:
            return first, second
    raise DatasetError(f'Expected ["IMAGE", "MASK" or "{_NEGATIVE}"] in {path}, entry {number}, found {entry!r:.80}.')


def _absolute(path: Path | None) -> str:
    assert path is not None, "a tampered image has a mask"
    return path.absolute().as_posix()


def _write_json(content: Any, path: Path) -> None:  # noqa: ANN401 - lists and dicts of strings
    write_list(json.dumps(content, indent=1, ensure_ascii=False) + "\n", path)
