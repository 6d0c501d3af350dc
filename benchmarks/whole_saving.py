"""How often a JPEG saving that every block shows is told, and how often it is believed of a picture edited after it.

    python -m benchmarks.whole_saving PHOTOS [--samples 400]

First the photos that every training holds back, saved at several qualities; then samples forged from them: those that
end as JPEG of at most `LIMIT`, which should be told, and those that do not, which should not where they are forged. An
authentic one may show an earlier saving rightly. docs/decision.md has the tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.false_alarms import held_out_photos
from benchmarks.heldout import SEED, SETS
from benchmarks.quality_facts import saved
from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.data.quality.block_grid import find_grid
from nclforensics.data.quality.jpeg_coding import read_jpeg_coding
from nclforensics.data.quality.whole_saving import whole_saving
from nclforensics.pipelines.training_data import SPLIT_SEED

LIMIT: Final = 92
QUALITIES: Final = (98, 95, 92, 90, 85, 80, 70, 60)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--samples", type=int, default=400, help="of every set")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    photos = held_out_photos(arguments.photos)
    print(f"| saved at | {LIMIT} or less is told | median of it | within 2 |\n|---|---|---|---|")
    for quality in QUALITIES:
        told = [whole_saving(pixels, find_grid(pixels)) for pixels in (saved(photo, quality)[1] for photo in photos)]
        low = [found for found in told if found is not None and found <= LIMIT]
        near = sum(abs(found - quality) <= 2 for found in low)  # noqa: PLR2004 - said in the table's head
        print(f"| {quality} | {len(low)} of {len(photos)} | {np.median(low):.0f} | {near} |", flush=True)
    print(
        f"\n| samples | saved at {LIMIT} or less | forged, not saved so | authentic, not saved so |\n|---|---|---|---|"
    )
    pool = PhotoPool.from_folder(arguments.photos, subset="validation", seed=SPLIT_SEED)
    for name in ("forge", "saved again", "web", "web, resized", "adjusted"):
        print(f"| {name} | {row(Forge(pool, ForgeConfig(**SETS[name]), SEED), arguments.samples)} |", flush=True)


def row(forge: Forge, samples: int) -> str:
    """Return how many of the three kinds of samples are told, as a table's cells."""
    told: dict[str, list[bool]] = {"low": [], "forged": [], "authentic": []}
    for sample in map(forge.sample, range(samples)):
        coding = read_jpeg_coding(sample.encoded) if sample.encoded else None
        low = coding is not None and coding.quality <= LIMIT
        found = whole_saving(sample.image, find_grid(sample.image))
        kind = "low" if low else "forged" if sample.mask.any() else "authentic"
        told[kind].append(found is not None and found <= LIMIT)
    return " | ".join(f"{sum(found)} of {len(found)}" for found in told.values())


if __name__ == "__main__":
    main()
