"""Writing a forged set to a folder: images, masks, manifest and recipes."""

from __future__ import annotations

import csv
import dataclasses
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from nclforensics.config import ForgeConfig, dump_config
from nclforensics.data.forge import KINDS, Forge, ForgedSample
from nclforensics.data.photos import FORGE_CONFIG, FORGE_RECIPES, PhotoPool
from nclforensics.errors import OutputError
from nclforensics.pipelines.outputs import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS: Final = ("image", "mask", "authentic", "kind", "group", "photos", "seed", "index")


@dataclass(frozen=True)
class ForgeSummary:
    """What was written.

    Attributes:
        counts: Number of samples of each kind.
        photos: Number of photos in the pool.
        unreadable: Photos that were drawn and could not be decoded, with the reason.
    """

    counts: dict[str, int]
    photos: int
    unreadable: dict[Path, str]


@dataclass(frozen=True)
class ForgeRequest:
    """A set to be written: `count` samples with the indices 0, 1, ... from the photos of a folder."""

    photos: Path
    out: Path
    count: int
    seed: int
    config: ForgeConfig


class ForgeWriter:
    """Writes one forged set.

    The folder gets images/NNNNNN.jpg or .png, masks/NNNNNN.png (0 and 255), manifest.csv, recipes.jsonl (what was
    done to each sample) and forge.toml (the configuration). A history that ends with JPEG is written with its own
    bytes. manifest.csv comes last: a folder without it is a set that was not finished.

    Raises:
        MissingInputError: If there are no photos.
        OutputError: If the output folder lies among the photos, holds anything already or cannot be made.
    """

    def __init__(self, request: ForgeRequest) -> None:
        self.request = request
        if is_inside(request.out, request.photos):
            raise OutputError(
                f"The folder {request.out} lies inside the photos {request.photos}: what is forged must not be taken "
                "for a photo. Choose one elsewhere."
            )
        self.pool = PhotoPool.from_folder(request.photos)
        self.forge = Forge(self.pool, request.config, request.seed)
        self.counts = dict.fromkeys(KINDS, 0)
        _check_empty(request.out)
        self.forge.sample(0)  # photos that cannot be used fail here, before a folder is made

    def write(self) -> Iterator[int]:
        """Write the samples one by one, yielding each one's index when it is on disk.

        Raises:
            MissingInputError: If the photos are too small or too uniform for a sample.
            OutputError: If a file cannot be written.
        """
        cv2.setNumThreads(0)  # the images are small: threads cost more than they save
        out = self.request.out
        with _writing(out):
            for part in ("images", "masks"):
                (out / part).mkdir(parents=True)
            # As a table, so that the file can be given back as --config.
            (out / FORGE_CONFIG).write_text(f"[forge]\n{dump_config(self.request.config)}", encoding="utf-8")
            with (out / FORGE_RECIPES).open("w", encoding="utf-8") as recipes:
                rows = []
                for index in range(self.request.count):
                    sample = self.forge.sample(index)
                    rows.append(_write_sample(sample, out, index))
                    recipes.write(json.dumps(sample.recipe) + "\n")
                    self.counts[sample.kind] += 1
                    yield index
            _write_manifest(rows, out / "manifest.csv")

    def summary(self) -> ForgeSummary:
        """Return what was written so far."""
        return ForgeSummary(dict(self.counts), len(self.pool), dict(self.pool.unreadable))


def with_size(config: ForgeConfig, size: int | None) -> ForgeConfig:
    """Return the configuration with another sample size, or as it is if `size` is None."""
    return config if size is None else dataclasses.replace(config, size=size)


def _check_empty(folder: Path) -> None:
    with _writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"Expected an empty or new folder at {folder}, found something there. Name another one.")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"Cannot write the forged set to {folder}: {error.strerror or error}.") from error


def _write_sample(sample: ForgedSample, out: Path, index: int) -> dict[str, Any]:
    image = f"images/{index:06d}.{'png' if sample.encoded is None else 'jpg'}"
    mask = f"masks/{index:06d}.png"
    (out / image).write_bytes(
        _png(cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)) if sample.encoded is None else sample.encoded
    )
    (out / mask).write_bytes(_png(sample.mask.astype(np.uint8) * 255))
    return {
        "image": image,
        "mask": mask,
        "authentic": int(sample.kind == "authentic"),
        "kind": sample.kind,
        "group": "+".join(dict.fromkeys(sample.recipe["photos"])),
        "photos": " ".join(sample.recipe["photos"]),
        "seed": sample.recipe["seed"],
        "index": index,
    }


def _png(pixels: Any) -> bytes:  # noqa: ANN401 - an array as OpenCV takes it
    done, encoded = cv2.imencode(".png", pixels)
    assert done
    return encoded.tobytes()


def _write_manifest(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
