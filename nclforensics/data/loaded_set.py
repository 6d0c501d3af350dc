"""What reading a data set gives: its pairs, everything that is odd about it, and what it should have held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair

Severity = Literal["note", "warning", "error"]
# One word for each kind of oddity, so that tables and JSON can be filtered by it.
ANOMALIES: Final = {
    "count": "the set does not hold the number of images that its owners published",
    "duplicate": "an image is listed twice, or two images hold the same pixels",
    "empty-mask": "the mask of a tampered image marks nothing",
    "ignored": "a file was left out on purpose",
    "inverted": "the masks mark most of their images",
    "known-bad": "an image that is known to be wrong in the published set was left out",
    "misaligned": "the masks do not follow what the images show: shuffled or shifted",
    "mislabelled": "an image is listed as authentic, but its mask marks pixels",
    "mismatched": "a mask has another shape than its image, the pair was left out",
    "resized": "a mask has another size than its image and is scaled to it, nearest neighbour",
    "transposed": "a mask has the width and height of its image swapped, the pair was left out",
    "unpaired-image": "a tampered image without a mask",
    "unpaired-mask": "a mask without an image",
    "unreadable": "a file that cannot be decoded",
    "unreliable": "the set is whole, but figures made from it need a caveat",
}


@dataclass(frozen=True)
class Anomaly:
    """One thing about a data set that its user should know.

    Attributes:
        kind: A key of `ANOMALIES`.
        severity: An "error" stops training and evaluation, a "warning" is printed by them, a "note" only by `nclf
            data check`.
        message: What was found and what was done about it, one sentence.
        path: The file that it is about, None if it is about the whole set.
    """

    kind: str
    severity: Severity
    message: str
    path: Path | None = None


@dataclass(frozen=True)
class BenchmarkFacts:
    """What is known about a published data set before looking at anybody's copy.

    Attributes:
        name: How commands call it, such as "casiav2".
        title: How papers call it, such as "CASIA v2".
        aliases: Other names that commands accept.
        tampered: Number of tampered images with a mask.
        authentic: Number of authentic images.
        tree: The expected folders and files, several lines; other accepted layouts included.
        mask_rule: Which pixels of a mask file mean tampered, one line.
        publisher: Where its owners publish it.
        terms: Under which terms, as far as they are stated.
        caveats: What to know before quoting a figure made from it, one sentence each.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    tampered: int
    authentic: int
    tree: str
    mask_rule: str
    publisher: str
    terms: str
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedSet:
    """A data set as found on disk.

    Attributes:
        name: Name of the benchmark, or the path as the user gave it.
        root: The folder (or index file) that it was read from.
        pairs: Usable pairs, in natural order of their names.
        anomalies: Everything odd that was found without decoding pixels.
        facts: What it should hold; None for a set of the user's own.
        indivisible: Why no part of it may be held out while the rest is trained on; "" where that may be done.
    """

    name: str
    root: Path
    pairs: tuple[ImagePair, ...]
    anomalies: tuple[Anomaly, ...] = ()
    facts: BenchmarkFacts | None = None
    indivisible: str = ""

    @property
    def folder(self) -> Path:
        """The folder that it was read from: its root, or the one that the index file lies in."""
        return self.root.parent if self.root.is_file() else self.root

    def has_file(self, path: Path) -> bool:
        """Return whether a path leads to an image or mask of the set, or to its index file."""
        if not path.is_file():
            return False
        files = (self.root, *(file for pair in self.pairs for file in (pair.image, pair.mask) if file is not None))
        return any(file.is_file() and path.samefile(file) for file in files)


@dataclass(frozen=True)
class Loader:
    """How one benchmark is read; each file of `nclforensics.data.loaders` holds one or more as constants.

    Attributes:
        facts: What the benchmark consists of.
        load: Takes the benchmark's folder, returns what lies there. Raises DatasetError if no known layout is found.
    """

    facts: BenchmarkFacts
    load: Callable[[Path], LoadedSet]
