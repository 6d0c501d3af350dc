"""How often changed levels are told, and how often authentic photos show a region after such a change.

    python -m benchmarks.changed_levels PHOTOS [--model NAME] [--changes "gamma 0.5" ...]

First, how many of the folder's photos have the fact `levels_changed` as they are. Then the photos that every training
holds back are changed in 8 bits, as an editor's brightness, contrast and white balance do, and perhaps saved as JPEG
after it: the share that has the fact, and the share that shows a region at the model's default threshold. None is
forged, so each region is a false alarm. docs/decision.md has the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality_facts import saved
from nclforensics.data.images import find_images, read_image
from nclforensics.data.photos import PhotoPool
from nclforensics.data.quality.levels import UNEVENNESS_LIMIT, level_unevenness
from nclforensics.data.quality.sampling import windows
from nclforensics.errors import NclfError
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.weights import DEFAULT_MODEL, load_model
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import SPLIT_SEED

if TYPE_CHECKING:
    from collections.abc import Iterator

Image = NDArray[np.uint8]
Curve = tuple[float, float]  # gamma; contrast about the middle of the scale

CURVES: Final[dict[str, Curve]] = {
    "as they are": (1, 1),
    **{f"gamma {gamma:g}": (gamma, 1) for gamma in (0.5, 0.7, 0.85, 1.2, 1.4, 2)},
    **{f"contrast {factor:g}": (1, factor) for factor in (0.85, 1.2)},
}
WARMER: Final = (1.1, 1.0, 0.9)  # gains of red, green and blue
SAVED: Final = {f"gamma {gamma:g}, JPEG {q}": (gamma, q) for gamma in (0.5, 2) for q in (98, 95, 85)}
CHANGES: Final = (*CURVES, "warmer", *SAVED)


def main() -> None:
    """Print the share of photos with the fact, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    flagged = [has_fact(pixels) for pixels in readable(arguments.photos)]
    print(f"levels changed: {sum(flagged)} of {len(flagged)} photos as they are")
    model = load_model(arguments.model)
    localizer = Localizer(model.network, device=torch.device("cpu"))
    pool = PhotoPool.from_folder(arguments.photos, subset="validation", seed=SPLIT_SEED)
    held = [pool.photo(index) for index in range(len(pool))]
    photos = [photo.pixels for photo in held if photo is not None and photo.opacity is None]  # no cut-out objects
    print(f"\n| change | levels changed | {model.name} shows a region |\n|---|---|---|")
    for name in arguments.changes:
        changed = [change(pixels, name) for pixels in photos]
        facts = sum(map(has_fact, changed))
        scores = [evidence_score(localizer.localize(pixels), min_region=model.min_region) for pixels in changed]
        regions = sum(score > model.threshold for score in scores)
        print(f"| {name} | {facts} of {len(photos)} | {regions} |", flush=True)


def readable(folder: Path) -> Iterator[Image]:
    """Yield the pixels of the photos that can be read."""
    for path in find_images(folder):
        try:
            yield read_image(path).pixels
        except NclfError:
            continue


def has_fact(pixels: Image) -> bool:
    """Tell whether a picture has the fact."""
    return level_unevenness(windows(pixels)) >= UNEVENNESS_LIMIT


def change(pixels: Image, name: str) -> Image:
    """Return the pixels after one of `CHANGES`."""
    if name in SAVED:
        gamma, quality = SAVED[name]
        return saved(curved(pixels, (gamma, 1)), quality)[1]
    if name == "warmer":
        return np.stack([mapped(pixels[..., i], np.arange(256.0) * gain) for i, gain in enumerate(WARMER)], axis=-1)
    return curved(pixels, CURVES[name])


def curved(pixels: Image, curve: Curve) -> Image:
    """Return pixels whose levels were mapped by a gamma and a contrast."""
    gamma, contrast = curve
    return mapped(pixels, (255 * (np.arange(256) / 255) ** gamma - 128) * contrast + 128)


def mapped(pixels: Image, levels: NDArray[np.float64]) -> Image:
    """Return pixels with the level that each of the 256 is mapped to."""
    return np.asarray(cv2.LUT(pixels, np.clip(np.rint(levels), 0, 255).astype(np.uint8)), np.uint8)


if __name__ == "__main__":
    main()
