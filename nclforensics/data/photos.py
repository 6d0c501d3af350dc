"""A pool of pristine photos: what the forge cuts its hosts and donors from.

A photo is known by the SHA-256 of its file and the pool is sorted by it, so names and folders do not matter. Photos
are decoded when first drawn and kept in memory as crops cut on the JPEG grid, never resized: camera and compression
traces stay as they were, and the JPEG grid of a kept crop starts at its corner.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import numpy as np

from nclforensics.data.images import IMAGE_SUFFIXES, find_images, read_image
from nclforensics.errors import MissingInputError, NclfError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Subset = Literal["train", "validation", "all"]

GRID: Final = 16  # side in pixels of the largest block that JPEG codes as a unit (4:2:0)
MAX_SIDE: Final = 1024  # longest side in pixels of a crop kept in memory
CACHE_BYTES: Final = 1_420_000_000
# A folder with both is a set that `nclf forge` writes or has written.
FORGE_CONFIG: Final = "forge.toml"
FORGE_RECIPES: Final = "recipes.jsonl"
PNG_COLOUR_TYPE_OFFSET: Final = 25
PNG_TYPES_WITH_ALPHA: Final = (4, 6)


@dataclass(frozen=True)
class PhotoFile:
    """A file of the pool: where it lies, the SHA-256 of its bytes, and whether it is a cut-out object with alpha."""

    path: Path
    sha256: str
    has_alpha: bool


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `pixels` uint8 (H, W, 3) RGB; `opacity` uint8 (H, W) for a cut-out object, else None."""

    pixels: NDArray[np.uint8]
    opacity: NDArray[np.uint8] | None
    sha256: str

    @property
    def shortest_side(self) -> int:
        """Return the shorter of height and width in pixels."""
        return int(min(self.pixels.shape[:2]))


class PhotoPool:
    """The photos of a folder, decoded on demand and kept up to `cache_bytes`; pickled without the decoded pixels."""

    def __init__(self, files: list[PhotoFile], *, cache_bytes: int = CACHE_BYTES) -> None:
        unique = {file.sha256: file for file in reversed(files)}
        self.files = [unique[sha256] for sha256 in sorted(unique)]
        self.unreadable: dict[Path, str] = {}
        self._objects = [index for index, file in enumerate(self.files) if file.has_alpha]
        self._cache_bytes = cache_bytes
        self._cached: dict[int, Photo] = {}
        self._cached_bytes = 0

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        subset: Subset = "all",
        validation_share: float = 0.1,
        seed: int = 0,
    ) -> PhotoPool:
        """Collect the photos below a folder, recursively.

        Args:
            folder: Holds image files of any format that is read, at any depth. A set of `nclf forge` in it is left out:
                its images and masks are no pristine photos.
            subset: "all", or one side of the split. A photo's side depends on its hash and the seed alone, so adding
                photos moves none of the others.
            validation_share: Expected share of photos in "validation", in [0, 1].
            seed: Seeds the split.

        Raises:
            MissingInputError: If there is no such folder, or no photo in it, or none in that subset.
        """
        if subset not in ("train", "validation", "all"):
            raise UsageError(f'Expected subset "train", "validation" or "all", got "{subset}".')
        files = _photo_files(folder)
        if subset == "all":
            return cls(files)
        return cls(_part(files, folder, subset, validation_share=validation_share, seed=seed))

    @classmethod
    def split_folder(cls, folder: Path, *, validation_share: float, seed: int) -> tuple[PhotoPool, PhotoPool]:
        """Collect the photos below a folder as two pools, for training and for validation; every file is read once.

        Arguments and errors are those of `from_folder`.
        """
        files = _photo_files(folder)
        train = _part(files, folder, "train", validation_share=validation_share, seed=seed)
        return cls(train), cls(_part(files, folder, "validation", validation_share=validation_share, seed=seed))

    def __len__(self) -> int:
        return len(self.files)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cached": {}, "_cached_bytes": 0}

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the photos' hashes: equal for pools of the same photos."""
        return hashlib.sha256("\n".join(file.sha256 for file in self.files).encode()).hexdigest()

    @property
    def has_objects(self) -> bool:
        """Tell whether the pool holds cut-out objects with an alpha channel."""
        return bool(self._objects)

    def preload(self) -> None:
        """Decode every photo now, so that forked workers share the pixels instead of decoding them each."""
        for index in range(len(self.files)):
            self.photo(index)

    def photo(self, index: int) -> Photo | None:
        """Return a photo of the pool, or None if it cannot be decoded, which is noted in `unreadable`."""
        if index in self._cached:
            return self._cached[index]
        file = self.files[index]
        if file.path in self.unreadable:
            return None
        photo = _decode(file)
        if photo is None:
            self.unreadable[file.path] = "the file cannot be decoded"
        elif self._cached_bytes + photo.pixels.nbytes <= self._cache_bytes:
            self._cached[index] = photo
            self._cached_bytes += photo.pixels.nbytes
        return photo

    def draw_scene(self, rng: np.random.Generator, *, min_side: int, other_than: str = "") -> Photo:
        """Draw a photo without alpha whose sides are at least `min_side` pixels.

        One random number is used, and photos that do not qualify pass the turn to the next: so the draw depends on
        the photos' contents only.

        Args:
            rng: The sample's generator.
            min_side: Smallest height and width wanted.
            other_than: SHA-256 of a photo to avoid, taken only if there is no other.

        Raises:
            MissingInputError: If no photo qualifies.
        """
        start = int(rng.integers(len(self.files)))
        avoided: Photo | None = None
        for step in range(len(self.files)):
            index = (start + step) % len(self.files)
            if self.files[index].has_alpha:
                continue
            photo = self.photo(index)
            if photo is None or photo.shortest_side < min_side:
                continue
            if photo.sha256 != other_than:
                return photo
            avoided = photo
        if avoided is not None:
            return avoided
        cutouts = (
            f" {len(self._objects)} are PNG with an alpha channel and are taken for cut-out objects, not for photos: "
            "save those that are photos without it."
            if self._objects
            else ""
        )
        raise MissingInputError(
            f"None of the {len(self.files)} photos can be read and is at least {min_side} pixels on its shorter side "
            f"({len(self.unreadable)} cannot be decoded).{cutouts} Add larger photos or forge smaller samples."
        )

    def draw_object(self, rng: np.random.Generator) -> Photo | None:
        """Draw a cut-out object with its opacity; None if the pool has none that can be read."""
        start = int(rng.integers(max(1, len(self._objects))))
        for step in range(len(self._objects)):
            photo = self.photo(self._objects[(start + step) % len(self._objects)])
            if photo is not None and photo.opacity is not None:
                return photo
        return None


def _photo_files(folder: Path) -> list[PhotoFile]:
    if not folder.is_dir():
        raise MissingInputError(f"Expected a folder of photos at {folder}, found no such folder.")
    around = folder.resolve().parents
    recipes = (*folder.rglob(FORGE_RECIPES), *(parent / FORGE_RECIPES for parent in around))
    forged = {path.parent for path in recipes if path.is_file() and (path.parent / FORGE_CONFIG).is_file()}
    found = find_images(folder) if forged.isdisjoint(around) else []
    paths = [path for path in found if forged.isdisjoint(path.parents)]
    if not paths:
        besides = f" but what nclf forge made: {min(forged)}" if forged else ""
        expected = ", ".join(sorted(IMAGE_SUFFIXES))
        raise MissingInputError(f"Expected photos ({expected}) in {folder}, found none{besides}.")
    files = []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError:  # no permission, or gone since it was listed: such a file has no hash, so no place in the pool
            continue
        files.append(PhotoFile(path, hashlib.sha256(content).hexdigest(), has_alpha=_is_png_with_alpha(content)))
    return files


def _part(
    files: list[PhotoFile], folder: Path, subset: Subset, *, validation_share: float, seed: int
) -> list[PhotoFile]:
    """Return one side of the split."""
    wanted = subset == "validation"
    part = [file for file in files if (_split_position(file.sha256, seed) < validation_share) == wanted]
    if not part:
        raise MissingInputError(
            f'No photo of the subset "{subset}" in {folder} (validation share {validation_share}). '
            "Add photos or change the share."
        )
    return part


def _split_position(sha256: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the photo and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _is_png_with_alpha(content: bytes) -> bool:
    is_png = content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > PNG_COLOUR_TYPE_OFFSET
    return is_png and content[PNG_COLOUR_TYPE_OFFSET] in PNG_TYPES_WITH_ALPHA


def _decode(file: PhotoFile) -> Photo | None:
    """Decode as `nclf scan` does: pixels as stored, orientation tags not applied. None if that is not possible."""
    try:
        pixels = read_image(file.path).pixels
    except NclfError:
        return None
    opacity = None
    if file.has_alpha:
        stored = cv2.imdecode(np.frombuffer(file.path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.dtype == np.uint8:
            opacity = _crop(np.asarray(stored[:, :, -1], np.uint8))
    return Photo(_crop(pixels), opacity, file.sha256)


def _crop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the middle out of an image that is larger than MAX_SIDE, with its corner on the JPEG grid."""
    height, width = image.shape[:2]
    top = max(0, (height - MAX_SIDE) // 2) // GRID * GRID
    left = max(0, (width - MAX_SIDE) // 2) // GRID * GRID
    return np.array(image[top : top + MAX_SIDE, left : left + MAX_SIDE], copy=True, order="C")
