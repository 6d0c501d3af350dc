"""Where training samples come from: the forge, or pairs of image and mask on disk.

Every sample is a function of (data, configuration, seed, index). Step k of a run with batch size B always sees the
indices k B ... k B + B - 1, whatever the number of worker processes and wherever the run was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nclforensics.data.forge import Forge
from nclforensics.data.images import read_image
from nclforensics.data.photos import PhotoPool
from nclforensics.data.sets import load_set
from nclforensics.errors import (
    ConfigError,
    DatasetError,
    MissingInputError,
    NclfError,
    UnreadableImageError,
    UsageError,
)
from nclforensics.pipelines.dataset_check import check_pairs, ground_truth_of_size, stop_at_errors, warnings_of
from nclforensics.pipelines.seeding import derived_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nclforensics.config import RunConfig
    from nclforensics.data.manifest import ImagePair

RGBImage = NDArray[np.uint8]
SPLIT_SEED = 0  # not the run's: a run that starts from another's weights must hold back the same images
GRID = 8  # crops start on the 8 x 8 grid of JPEG, so that block traces keep their phase


class TrainingSample(NamedTuple):
    """One sample, or a batch with a leading B: image uint8 (3, S, S), mask bool (S, S), valid bool (S, S)."""

    image: Tensor
    mask: Tensor
    valid: Tensor


class AuthenticImages(Protocol):
    """Authentic images, one after the other, for calibration."""

    def __call__(self) -> Iterator[RGBImage]:
        """Yield images, uint8 (H, W, 3) RGB."""
        ...


@dataclass(frozen=True)
class TrainingSources:
    """What a run trains on, and what it holds back.

    Attributes:
        train: Sample by index, endless.
        validation: Sample by index, 0 ... validation_samples - 1, from held-out photos only.
        authentic: The held-out authentic images, one of each photo: those of a data set whole, the forge's photos as
            its pool holds them, large ones cut to their middle.
        description: For the manifest of the weights: what the data was, with counts and a digest.
        warnings: What the user should know about the data before hours of training.
        damaged: Returns the images of a data set that could not be read when they were needed, in any process so far.
    """

    train: Dataset[TrainingSample]
    validation: Dataset[TrainingSample]
    authentic: AuthenticImages
    description: dict[str, str | int]
    warnings: tuple[str, ...] = ()
    damaged: Callable[[], list[Path]] = list


def open_sources(config: RunConfig) -> TrainingSources:
    """Open the data set that the configuration names and split off the held-out part.

    Raises:
        UsageError: If the forge is asked for without photos.
        MissingInputError: If a folder is missing or holds nothing usable.
        DatasetError: If a data set cannot be used.
    """
    if not 0 < config.train.validation_share <= 0.5:  # noqa: PLR2004 - more held out than trained on makes no sense
        raise ConfigError(f"Expected validation_share in (0, 0.5], got {config.train.validation_share}.")
    return _forge_sources(config) if config.train.dataset == "forge" else _pair_sources(config)


def batches(
    samples: Dataset[TrainingSample], *, batch_size: int, first: int, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[TrainingSample]:
    """Yield batches for ever; the first holds the indices first + rank, first + rank + ranks, ...

    Args:
        samples: Sample by index.
        batch_size: Samples a batch, for this rank.
        first: Index of the first sample of the first batch, over all ranks.
        workers: Processes that prepare samples; 0 prepares them here.
        rank: This process's number.
        ranks: Number of processes that share the indices.

    Raises:
        NclfError: What a sample raised, with its own message also where a worker process wrapped it in a traceback.
    """
    loader = DataLoader(
        samples,
        batch_size=batch_size,
        sampler=_Counting(first + rank, ranks),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
    )
    try:
        for image, mask, valid in loader:
            yield TrainingSample(image, mask, valid)
    except NclfError as error:
        raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error


class _Counting(torch.utils.data.Sampler[int]):
    """Counts upwards for ever."""

    def __init__(self, first: int, stride: int) -> None:
        self.first = first
        self.stride = stride

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first, self.stride)


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # What asks a whole process group to end, Ctrl-C or the program `timeout`, must not take the samples away from the
    # training process: it decides, and finishes its step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)


class ForgeSamples(Dataset[TrainingSample]):
    """Samples of a forge."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge

    def __getitem__(self, index: int) -> TrainingSample:
        """Return sample `index`; all its pixels are valid."""
        sample = self.forge.sample(index)
        return _as_tensors(sample.image, sample.mask, np.ones_like(sample.mask))


class PairSamples(Dataset[TrainingSample]):
    """Square crops, on the 8-pixel grid, of the images of a data set; every epoch visits each image once.

    Three of four crops of a tampered image are placed so that they contain tampered pixels. An image is padded with its
    edge pixels to the size of a crop, or else to the grid; those are marked as not valid. In the place of an image that
    cannot be read, the next one of the epoch is taken.
    """

    def __init__(self, pairs: list[ImagePair], *, size: int, seed: int) -> None:
        self.pairs = pairs
        self.size = size
        self.seed = seed
        # Worker processes write it, too.
        self._damaged = torch.zeros(len(pairs), dtype=torch.bool)
        self._damaged.share_memory_()  # type: ignore[no-untyped-call]  # torch ships no type for it

    def __getitem__(self, index: int) -> TrainingSample:
        """Return sample `index` of the endless sequence of epochs; a mask of another size is brought to its image's.

        Raises:
            DatasetError: If not one image can be read.
        """
        epoch, position = divmod(index, len(self.pairs))
        order = np.random.default_rng(derived_seed(self.seed, "epoch", epoch)).permutation(len(self.pairs))
        rng = np.random.default_rng(derived_seed(self.seed, "crop", index))
        for number in map(int, np.roll(order, -position)):
            pair = self.pairs[number]
            try:
                image = read_image(pair.image).pixels
                mask = ground_truth_of_size(pair, (image.shape[0], image.shape[1]))
            except (UnreadableImageError, MissingInputError):
                self._damaged[number] = True
                continue
            return self._crop(image, mask, rng)
        raise DatasetError(
            f"Not one of {len(self.pairs)} images can be read any more, among them {self.pairs[0].image}. Is the disk "
            "or network folder still there? Then go on with --resume."
        )

    @property
    def damaged(self) -> list[Path]:
        """Return the images that could not be read, or whose masks could not, so far and in any worker process."""
        return [pair.image for pair, damaged in zip(self.pairs, self._damaged.tolist(), strict=True) if damaged]

    def _crop(self, image: RGBImage, mask: NDArray[np.bool_], rng: np.random.Generator) -> TrainingSample:
        valid = np.ones(mask.shape, bool)
        short = [max(self.size - side, -side % GRID) for side in mask.shape]
        if any(short):
            edges = ((0, short[0]), (0, short[1]))
            image = np.pad(image, (*edges, (0, 0)), mode="edge")
            mask, valid = np.pad(mask, edges), np.pad(valid, edges)
        focus = np.argwhere(mask) if rng.random() < 0.75 else np.empty((0, 2), int)  # noqa: PLR2004 - see the class
        top, left = self._corner(mask.shape, focus, rng)
        window = (slice(top, top + self.size), slice(left, left + self.size))
        crops = image[window], mask[window], valid[window]
        if rng.random() < 0.5:  # noqa: PLR2004 - a mirrored crop keeps its block grid, since its side is a multiple of 8
            crops = crops[0][:, ::-1], crops[1][:, ::-1], crops[2][:, ::-1]
        return _as_tensors(*crops)

    def _corner(self, shape: tuple[int, ...], focus: NDArray[np.int_], rng: np.random.Generator) -> tuple[int, int]:
        """Draw a corner on the grid; if there are pixels to focus on, one of them is in the crop."""
        first, last = [0, 0], [(side - self.size) // GRID for side in shape]
        if len(focus):
            pixel = focus[int(rng.integers(len(focus)))]
            first = [max(0, -(-(int(at) - self.size + 1) // GRID)) for at in pixel]
            last = [min(end, int(at) // GRID) for at, end in zip(pixel, last, strict=True)]
        top, left = (GRID * int(rng.integers(low, high + 1)) for low, high in zip(first, last, strict=True))
        return top, left


def _as_tensors(image: RGBImage, mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> TrainingSample:
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return TrainingSample(
        pixels, torch.from_numpy(np.ascontiguousarray(mask)), torch.from_numpy(np.ascontiguousarray(valid))
    )


@dataclass(frozen=True)
class _PoolImages:
    """The photos of a pool, as it holds them; cut-out objects are no photos and left out."""

    pool: PhotoPool

    def __call__(self) -> Iterator[RGBImage]:
        for index in range(len(self.pool)):
            photo = self.pool.photo(index)
            if photo is not None and photo.opacity is None:
                yield photo.pixels


@dataclass(frozen=True)
class _PairImages:
    """The authentic images of a data set; those that cannot be read are left out and noted in `damaged`."""

    paths: list[Path]
    damaged: list[Path] = field(default_factory=list)

    def __call__(self) -> Iterator[RGBImage]:
        for path in self.paths:
            try:
                image = read_image(path).pixels
            except (UnreadableImageError, MissingInputError):
                self.damaged.append(path)
                continue
            yield image


def _forge_sources(config: RunConfig) -> TrainingSources:
    train = config.train
    if not train.photos:
        raise UsageError("The forge needs pristine photos: give their folder with --photos.")
    folder = Path(train.photos)
    pool, held_out = PhotoPool.split_folder(folder, validation_share=train.validation_share, seed=SPLIT_SEED)
    training = Forge(pool, config.forge, derived_seed(train.seed, "forge"))
    validation = Forge(held_out, config.forge, derived_seed(train.seed, "validation"))
    for forge in (training, validation):
        forge.sample(0)  # photos that are all too small are found here, not in a worker process minutes later
    description: dict[str, str | int] = {
        "kind": "forge: forgeries made from pristine photos",
        "photos": len(pool),
        "photos_held_out": len(held_out),
        "photos_sha256": _digest(file.sha256 for file in (*pool.files, *held_out.files)),
    }
    return TrainingSources(ForgeSamples(training), ForgeSamples(validation), _PoolImages(held_out), description)


def _pair_sources(config: RunConfig) -> TrainingSources:
    train, size = config.train, config.forge.size
    loaded = load_set(train.dataset)
    # A mispaired or inverted mask is found here, not by its effect on the figures after hours.
    stop_at_errors(loaded.anomalies, allow_missing=train.allow_missing)
    if loaded.indivisible:
        raise DatasetError(
            f"{train.dataset} cannot be trained on: a part must be held out, and {loaded.indivisible}. "
            "Use it for tests, or a copy that has it."
        )
    checked = check_pairs(loaded.pairs)
    kept, held_out = _split(checked.usable, share=train.validation_share, seed=SPLIT_SEED)
    between = len(checked.usable) - len(kept) - len(held_out)
    if train.tampered_only:
        kept = [pair for pair in kept if not pair.authentic]
    for name, part in (("training", kept), ("validation", held_out)):
        if not any(not pair.authentic for pair in part):
            photos = len({base for pair in checked.usable for base in pair.bases})
            raise DatasetError(
                f"Expected tampered images in the {name} part of {train.dataset}, found none among {len(part)} images. "
                f"Its {len(checked.usable)} images were made of {photos} photos, and {between} of them of photos on "
                "both sides. Add images made of other photos, or change validation_share."
            )
    description: dict[str, str | int] = {
        "kind": f"data set {loaded.facts.title if loaded.facts else Path(train.dataset).name}",
        "set": loaded.facts.name if loaded.facts else "",
        "images": len(kept),
        "images_held_out": len(held_out),
        "images_left_out": len(checked.skipped),
        "images_on_both_sides": between,
        "masks_resized": checked.resized,
        "tampered": sum(not pair.authentic for pair in kept),
        "authentic": sum(pair.authentic for pair in kept),
        "anomalies": len(loaded.anomalies) + len(checked.anomalies),
        "names_sha256": _digest(sorted(pair.image.name for pair in checked.usable)),
    }
    authentic = _PairImages(_one_of_each_photo(held_out))
    seed = derived_seed(train.seed, "crops")
    samples = PairSamples(kept, size=size, seed=seed)
    validation = PairSamples(held_out, size=size, seed=seed)
    warnings = warnings_of(loaded, checked)
    if between:
        message = "are in neither part: of the photos that each was made of, one is trained on and one held out"
        warnings += (f"{between} images {message}.",)

    def damaged() -> list[Path]:
        return [*samples.damaged, *validation.damaged, *authentic.damaged]

    return TrainingSources(samples, validation, authentic, description, warnings, damaged)


def _one_of_each_photo(pairs: Iterable[ImagePair]) -> list[Path]:
    """Return the first authentic image of each photo: two of one photo are not two photos to tell a rate by."""
    first: dict[tuple[str, ...], Path] = {}
    for pair in pairs:
        if pair.authentic:
            first.setdefault(pair.bases, pair.image)
    return list(first.values())


def _split(pairs: Sequence[ImagePair], *, share: float, seed: int) -> tuple[list[ImagePair], list[ImagePair]]:
    """Split into training and held-out pairs, by base image, so that none leaks.

    A splice of two photos on different sides belongs to neither part.
    """
    limit = share * 2.0**63
    sides = [{derived_seed(seed, "split", base) < limit for base in pair.bases} for pair in pairs]
    kept = [pair for pair, held_out in zip(pairs, sides, strict=True) if held_out == {False}]
    return kept, [pair for pair, held_out in zip(pairs, sides, strict=True) if held_out == {True}]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
