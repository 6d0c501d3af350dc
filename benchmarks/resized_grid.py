"""How often the JPEG grid of a resized picture is found, and how often one is found that is not there.

    python -m benchmarks.resized_grid PHOTOS [--pictures 200]

Pictures: three in ten authentic, by the forge from the photos that every run holds back, small JPEGs as the web has
them for hosts, 320 x 320 pixels, seed 79; these are resized as a whole (enlarged by cubic, linear or Lanczos
interpolation in turn, reduced by area or linear) and saved once more. "Never saved" are photos reduced to 37 % by area
averaging, which leaves next to nothing of their own JPEG blocks, 400 x 400 pixels at most.

- right: the grid found is that of the factor, to 1.5 pixels over the whole picture, both ways.
- wrong: another one. Where nothing was resized, any; but one in eight of the forge's own pictures ends resized.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.heldout import SETS, drawn
from benchmarks.quality_facts import resized, saved, shrunk_photos
from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.data.quality.resized_grid import find_resized_grid
from nclforensics.pipelines.training_data import SPLIT_SEED

Image = NDArray[np.uint8]
SIDE: Final = 320
SEED: Final = 79
FACTORS: Final = (1.6, 1.5, 1.3, 1.25, 1.1, 0.95, 0.9, 0.875, 0.8, 0.75, 0.7)
NEVER_SAVED: Final = (1.6, 1.3, 1.1, 0.95, 0.9, 0.7)
LAST: Final = (None, 98, 95, 92, 88)
ENLARGING: Final = ("cubic", "linear", "lanczos")
REDUCING: Final = ("area", "linear")
SAME: Final = 1.5
DRAWN: Final = ("forge", "saved again", "web")  # sets of the held-out benchmark


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--pictures", type=int, default=200)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    never = [photo[:400, :400] for photo in islice(shrunk_photos(arguments.photos, 0.37), arguments.pictures)]
    if not never:
        parser.error(f"Expected photos of 400 pixels at least on both sides at {arguments.photos}, found none.")
    pool = PhotoPool.from_folder(arguments.photos, subset="validation", validation_share=0.1, seed=SPLIT_SEED)
    samples: dict[str, list[Image]] = {}
    for name in DRAWN:
        forge = Forge(pool, ForgeConfig(size=SIDE, **SETS[name]), SEED)
        samples[name] = list(drawn(forge, arguments.pictures)[0])
    print(
        f"{arguments.pictures} pictures of each kind, {len(never)} photos\n\n| not resized | a grid found |\n|---|---|"
    )
    for name, images in samples.items():
        _print_found(name, images)
        _print_found(f"{name}, cropped", [image[3:-5, 5:-3] for image in images])
    _print_found("web, cropped, saved at 90", [saved(image[3:-5, 5:-3], 90)[1] for image in samples["web"]])
    _print_found("never saved", never)
    for factor in NEVER_SAVED:
        _print_found(f"never saved before it was resized by {factor}", _resized(never, factor))
    print("\n| pictures of the web, resized by | " + " | ".join(_name(last) for last in LAST) + " |")
    print("|---" * (1 + len(LAST)) + "|")
    for factor in FACTORS:
        images = _resized(samples["web"], factor)
        cells = [_right_and_wrong(images if last is None else [saved(i, last)[1] for i in images]) for last in LAST]
        print(f"| {factor} | " + " | ".join(cells) + " |", flush=True)
    for side in (1000, 4000):
        print(f"\n{_milliseconds(side):.0f} ms for {side} x {side} pixels on one core", end="")
    print()


def _resized(images: list[Image], factor: float) -> list[Image]:
    ways = ENLARGING if factor > 1 else REDUCING
    return [resized(image, factor, ways[index % len(ways)]) for index, image in enumerate(images)]


def _print_found(name: str, images: list[Image]) -> None:
    found = sum(find_resized_grid(image) is not None for image in images)
    print(f"| {name} | {found / len(images):.3f} |", flush=True)


def _right_and_wrong(images: list[Image]) -> str:
    """Return the shares of right and wrong grids of pictures that had SIDE pixels a side."""
    length = len(images[0])
    true = length * 8 / SIDE
    grids = [grid for image in images if (grid := find_resized_grid(image)) is not None]
    right = sum(all(abs(axis.period - true) / true * length < SAME for axis in grid) for grid in grids)
    return f"{right / len(images):.2f} / {(len(grids) - right) / len(images):.2f}"


def _milliseconds(side: int) -> float:
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (side // 4, side // 4, 3), np.uint8), (side, side))
    find_resized_grid(np.asarray(picture, np.uint8))
    start = time.process_time()
    find_resized_grid(np.asarray(picture, np.uint8))
    return (time.process_time() - start) * 1000


def _name(last: int | None) -> str:
    return "not saved again" if last is None else f"saved at {last}"


if __name__ == "__main__":
    main()
