"""How often the copy-move matcher finds copies, and how often it takes something else for one.

    python -m benchmarks.copy_move PHOTOS [--photos 200] [--forgeries 60] [--set PATH]... [--weights MODEL]

False alarms are counted on photos as they are; recall on copy-moves forged from the held-out photos ("validation" of
`nclf train`), by kind of transform and by ending; `--set` adds data sets as `nclf eval` takes them. A photo is flagged
if more than 0.5 % of it scores above the working threshold; a forgery is found if at least a quarter of its mask does.
Everything is drawn with fixed seeds. With `--weights` the scores of a model tell copies from originals, as in a scan,
and it is counted how often they are right: a copy is where the mask covers more of its box than of the other one, and
at least a fifth of it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge, ForgedSample
from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.images import find_images, read_image
from nclforensics.data.photos import PhotoPool
from nclforensics.data.sets import load_set
from nclforensics.errors import NclfError
from nclforensics.matching.copies import WORKING_THRESHOLD, CopiedRegion, find_copies
from nclforensics.metrics.intervals import wilson_interval
from nclforensics.metrics.pixel import auc, level_counts
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.inference import Localizer

if TYPE_CHECKING:
    from collections.abc import Iterable

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIZES: Final = (384, 512, 768)
FLAGGED: Final = 0.005
FOUND: Final = 0.25
COVERED: Final = 0.2
TOLD: Final = ("told rightly", "told wrongly", "not told", "without tampered pixels")


class Clock:
    """Runs the matcher and keeps count of the seconds of this process that it took, and of the pixels.

    Args:
        weights: Model whose scores tell copies from originals; empty for none.
    """

    def __init__(self, weights: str) -> None:
        self.seconds = 0.0
        self.pixels = 0
        self.regions: tuple[CopiedRegion, ...] = ()  # of the last image
        self.localizer: Localizer | None = None
        if weights:
            self.localizer = Localizer(load_model(weights).network, device=torch.device("cpu"))
            self.localizer.network.copy_matcher = False

    def predict(self, image: Image) -> tuple[NDArray[np.float32], Mask]:
        """Return the score map and the prediction at the working threshold."""
        scores = None if self.localizer is None else self.localizer.localize(image)
        start = time.process_time()
        found = find_copies(image, scores=scores)
        self.seconds += time.process_time() - start
        self.pixels += found.score_map.size
        self.regions = tuple(region for region in found.regions if region.score > WORKING_THRESHOLD)
        return found.score_map, found.score_map > WORKING_THRESHOLD


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--photos", type=int, default=200, dest="count", help="photos examined for false alarms")
    parser.add_argument("--forgeries", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photos and of the forgeries")
    parser.add_argument("--weights", default="", metavar="MODEL", help="of which the scores tell copy from original")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="PATH")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clock = Clock(arguments.weights)
    if arguments.forgeries:
        recall(arguments.photos, arguments.forgeries, arguments.seed, clock)
    if arguments.count:
        false_alarms(arguments.photos, arguments.count, arguments.seed, clock)
    for path in arguments.sets:
        data_set(path, clock)
    if clock.pixels:
        print(f"\n{clock.seconds / clock.pixels * 1e6:.2f} s of CPU a megapixel, {clock.pixels / 1e6:.1f} megapixels")


def false_alarms(folder: Path, count: int, seed: int, clock: Clock) -> None:
    """Print which photos are flagged."""
    paths = find_images(folder)
    looked, flagged, marked = 0, 0, 0
    print("\nPhotos flagged:")
    for index in np.random.default_rng(seed).permutation(len(paths)):
        try:
            image = read_image(paths[index]).pixels
        except NclfError:
            continue
        prediction = clock.predict(image)[1]
        looked += 1
        marked += bool(prediction.any())
        if prediction.mean() > FLAGGED:
            flagged += 1
            print(f"  {paths[index].relative_to(folder)}: {prediction.mean():.2%}", flush=True)
        if looked % 20 == 0:
            print(f"  ({looked} examined)", flush=True)
        if looked == count:
            break
    interval = wilson_interval(flagged, looked)
    if interval is not None:
        print(f"{flagged} of {looked} ({interval[0]:.1%} to {interval[1]:.1%}); {marked} with any pixel marked")


def recall(folder: Path, count: int, seed: int, clock: Clock) -> None:
    """Print how many forgeries are found, by kind."""
    pool = PhotoPool.from_folder(folder, subset="validation")
    forges = [
        Forge(pool, ForgeConfig(size=size, authentic=0, splice=0, copy_move=1, removal=0), seed=seed) for size in SIZES
    ]
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    told: list[str] = []
    for index in range(count):
        sample = forges[index % len(forges)].sample(index)
        prediction = clock.predict(sample.image)[1]
        told += [told_right(region, sample.mask) for region in clock.regions]
        share = float((prediction & sample.mask).sum() / sample.mask.sum())
        for name in ("all", *kinds_of(sample)):
            rows[name].append((share, f1(prediction, sample.mask)))
    print(f"\n{'forgeries':<24}{'n':>5}{'found':>8}{'f1':>8}")
    for name in sorted(rows):
        found = np.mean([share >= FOUND for share, _ in rows[name]])
        print(f"{name:<24}{len(rows[name]):>5}{found:>8.2f}{np.mean([value for _, value in rows[name]]):>8.2f}")
    counts = Counter(told)
    print(f"{len(told)} pairs of places: {', '.join(f'{counts[name]} {name}' for name in TOLD)}")


def told_right(region: CopiedRegion, mask: Mask) -> str:
    """Return whether the place that is called the copy is it: one of TOLD."""
    places = (region.source, region.target)
    source, target = (float(mask[y : y + height, x : x + width].mean()) for x, y, width, height in places)
    if max(source, target) < COVERED:
        return TOLD[3]
    return TOLD[2] if not region.directed else TOLD[0] if target > source else TOLD[1]


def kinds_of(sample: ForgedSample) -> Iterable[str]:
    """Return the rows of the table that a forgery belongs to, by its first edit, its ending and its size."""
    edit, ending = sample.recipe["edits"][0], sample.recipe["ending"]
    view = edit["view"]
    altered = "turned" if view["angle"] else "scaled" if view["scale"] != 1 else "moved"
    yield f"copy: {'mirrored' if edit['mirrored'] else altered}"
    if ending["side"] != ending["canvas"]:
        yield "ending: resized"
    elif ending["last"] is None:
        yield "ending: lossless"
    else:
        quality = ending["last"]["quality"]
        yield f"ending: JPEG {'90-100' if quality >= 90 else '75-89' if quality >= 75 else '60-74'}"  # noqa: PLR2004
    share = sample.mask.mean()
    yield f"area: {'above 4 %' if share > 0.04 else '1 to 4 %' if share > 0.01 else 'below 1 %'}"  # noqa: PLR2004


def data_set(path: str, clock: Clock) -> None:
    """Print the pixel figures of a data set's tampered images, and how many of its authentic ones are flagged."""
    figures, authentic = [], []
    for pair in load_set(path).pairs:
        score_map, prediction = clock.predict(read_image(pair.image).pixels)
        if pair.authentic:
            authentic.append(prediction.mean() > FLAGGED)
        elif pair.mask is not None:
            mask = read_ground_truth(pair)
            area = auc(level_counts(score_map, mask))
            figures.append((f1(prediction, mask), 0.5 if area is None else area))
            figure, ranked = figures[-1]
            print(f"  {pair.image.name}: f1 {figure:.3f}, AUC {ranked:.3f}, {prediction.mean():.2%} marked")
    print(f"\n{Path(path).name}: {len(figures)} tampered", end="")
    if figures:
        print(", f1 {:.3f}, AUC {:.3f}".format(*np.mean(figures, axis=0)), end="")
    print(f"; {sum(authentic)} of {len(authentic)} authentic flagged", flush=True)


def f1(prediction: Mask, mask: Mask) -> float:
    """Return the F1 of a prediction."""
    return float(2 * (prediction & mask).sum() / max(1, prediction.sum() + mask.sum()))


if __name__ == "__main__":
    main()
