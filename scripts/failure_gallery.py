"""Draw a model's worst misses and worst false alarms, and write the lines that somebody completes by hand.

    python scripts/failure_gallery.py --out DIR --set misd:DIR [--model MODEL]
    python scripts/failure_gallery.py --out DIR --photos DIR [--samples 200] [--model MODEL]

With --set, misses are tampered images of the set and false alarms its authentic ones. With --photos, they are forged
from the photos that the model's training held out (by its own configuration), and those photos as they are. A miss is
ranked by F1 at the model's threshold, a false alarm by its evidence score. DIR gets gallery.png (image with the outline
of its mask; score map on the one colour scale with the outline of what the scan would mark) and gallery.md. Pictures of
a set whose terms forbid it do not belong into a repository: say what they show in words.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nclforensics.config import load_config
from nclforensics.data.forge import Forge
from nclforensics.data.images import read_image
from nclforensics.data.photos import PhotoPool
from nclforensics.data.sets import load_set
from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.regions import evidence_score, regions_above
from nclforensics.networks.weights import CONFIG_FILE, LoadedModel, find_model, load_model
from nclforensics.pipelines.dataset_check import check_pairs, ground_truth_of_size
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.outputs import write_atomic
from nclforensics.pipelines.seeding import derived_seed
from nclforensics.pipelines.training_data import SPLIT_SEED
from nclforensics.reports.contact_sheet import reduced
from nclforensics.reports.overlay import color_scale, color_score_map, outline_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

ROW_HEIGHT = 2.3  # inches
WIDTH = 15.0


@dataclass(frozen=True)
class Sample:
    """One image: its name, RGB pixels, and mask; the mask of an authentic image is empty."""

    name: str
    image: Image
    mask: Mask


@dataclass(frozen=True)
class Failure:
    """One image among the worst.

    Attributes:
        name: Of the image.
        badness: Compared between failures of a kind, the highest is the worst.
        f1: At the model's threshold; None for an authentic image.
        tampered_share: Of its pixels.
        evidence: Its evidence score.
        pictures: What is shown: the image with its mask's outline, and the score map with the prediction's.
    """

    name: str
    badness: tuple[float, ...]
    f1: float | None
    tampered_share: float
    evidence: float
    pictures: tuple[Image, Image]

    @property
    def figures(self) -> str:
        """The numbers in words."""
        at_model = "" if self.f1 is None else f"F1 {self.f1:.2f}, {100 * self.tampered_share:.1f} % tampered, "
        return f"{at_model}evidence {self.evidence:.2f}"


@dataclass
class Worst:
    """The worst failures of a kind so far, and of how many images they are; `flagged` of these show a region."""

    most: int
    images: int = 0
    flagged: int = 0
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def add(self, failure: Failure, *, threshold: float) -> None:
        """Count an image and keep it if it is among the worst."""
        self.images += 1
        self.flagged += failure.evidence > threshold
        self.failures = sorted([*self.failures, failure], key=lambda each: each.badness, reverse=True)[: self.most]


def main() -> None:
    """Look at all images, keep the worst, write both files."""
    arguments = parse_arguments()
    model = load_model(arguments.model)
    localizer = Localizer(model.network, device=select_device(arguments.device))
    if arguments.set is not None:
        source, samples = f"the set {arguments.set.rstrip('/').rsplit('/')[-1]}", samples_of_set(arguments.set)
    else:
        source = f"forgeries made from held-out photos, {arguments.samples} a kind"
        samples = samples_of_forge(arguments.photos, find_model(arguments.model), arguments.samples)
    misses, alarms = Worst(arguments.count), Worst(arguments.count)
    for sample in samples:
        failure = judged(sample, localizer.localize(sample.image), model)
        (misses if sample.mask.any() else alarms).add(failure, threshold=model.threshold)
    write_atomic(arguments.out / "gallery.png", draw(misses, alarms, title=f"{model.name}: {source}"))
    write_atomic(arguments.out / "gallery.md", skeleton(misses, alarms, model, source).encode())
    print(f"{misses.images} tampered and {alarms.images} authentic images; wrote {arguments.out}/gallery.png and .md")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--set", help="data set as `nclf eval` takes it: a benchmark's name, a folder, or NAME:FOLDER")
    source.add_argument("--photos", type=Path, help="the folder of photos that the model was trained on")
    parser.add_argument("--samples", type=int, default=200, help="forgeries, and authentic photos, with --photos")
    parser.add_argument("--model", help="model name or folder; default: the one that is shipped")
    parser.add_argument("--count", type=int, default=10, help="failures of each kind")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="folder for gallery.png and gallery.md")
    return parser.parse_args()


def samples_of_set(spec: str) -> Iterator[Sample]:
    """Yield the usable images of a set."""
    for pair in check_pairs(load_set(spec).pairs).usable:
        image = read_image(pair.image).pixels
        mask = ground_truth_of_size(pair, (image.shape[0], image.shape[1]))
        yield Sample(pair.image.name, image, mask)


def samples_of_forge(photos: Path, model: Path, count: int) -> Iterator[Sample]:
    """Yield forgeries made from the photos that the training of a model held out, then whole held-out photos."""
    config = load_config(model / CONFIG_FILE)
    # The split's seed is not the run's: see training_data.
    pool = PhotoPool.from_folder(
        photos, subset="validation", validation_share=config.train.validation_share, seed=SPLIT_SEED
    )
    # Another stream than that of the training's own validation, which chose the weights.
    forge = Forge(pool, dataclasses.replace(config.forge, authentic=0), derived_seed(config.train.seed, "gallery"))
    for index in range(count):
        sample = forge.sample(index)
        yield Sample(f"forged sample {index} ({sample.kind})", sample.image, sample.mask)
    whole = ((file.path.name, pool.photo(index)) for index, file in enumerate(pool.files))
    for name, photo in islice(((n, p) for n, p in whole if p is not None and p.opacity is None), count):
        yield Sample(name, photo.pixels, np.zeros(photo.pixels.shape[:2], np.bool_))


def judged(sample: Sample, score_map: NDArray[np.float32], model: LoadedModel) -> Failure:
    """Return how bad the model is on an image, with the pictures that show it."""
    evidence = evidence_score(score_map, min_region=model.min_region)
    marked, _ = regions_above(score_map, threshold=model.threshold, min_region=model.min_region)
    forged, share = bool(sample.mask.any()), float(sample.mask.mean())
    f1 = confusion_at(score_map, sample.mask, threshold=model.threshold).f1 if forged else None
    # Many misses have an F1 of 0: of those, missing a large region is worse.
    badness = (evidence,) if f1 is None else (-f1, share)
    pictures = (outlined(sample.image, sample.mask), outlined(color_score_map(score_map), marked))
    return Failure(sample.name, badness, f1, share, evidence, pictures)


def outlined(picture: Image, mask: Mask) -> Image:
    """Return a picture, scaled down, with the outline of a mask."""
    small = reduced(picture)
    size = (small.shape[1], small.shape[0])
    # Any marked pixel counts: a region of a few pixels must not vanish from the reduced picture.
    return outline_mask(small, cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)


def draw(misses: Worst, alarms: Worst, *, title: str) -> bytes:
    """Return the sheet as PNG: misses in the left half, false alarms in the right one, worst first."""
    rows = max(len(misses.failures), len(alarms.failures), 1)
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * rows + 1), layout="constrained")
    heading, body = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, ROW_HEIGHT * rows)).ravel()
    scale: Axes = heading.subplots()
    scale.imshow(color_scale()[None], aspect="auto", extent=(0, 1, 0, 1))
    scale.set(yticks=[], xlabel="score", title=title)
    halves = body.subfigures(1, 2, squeeze=False)
    kinds = ((misses, "misses: image and mask | score map and marked regions"), (alarms, "false alarms: the same"))
    for half, (worst, words) in zip(halves.ravel(), kinds, strict=True):
        half.suptitle(words)
        for cells, failure in zip(
            half.subplots(rows, 2, squeeze=False), [*worst.failures, *[None] * rows], strict=False
        ):
            for cell in cells:
                cell.set_axis_off()
            if failure is not None:
                show(cells[0], cells[1], failure)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=100)
    return target.getvalue()


def show(left: Axes, right: Axes, failure: Failure) -> None:
    """Draw one failure."""
    for cell, picture, text in zip((left, right), failure.pictures, (failure.name, failure.figures), strict=True):
        cell.imshow(picture)
        cell.set_title(text if len(text) <= 48 else f"{text[:45]}...", fontsize=7, loc="left", parse_math=False)  # noqa: PLR2004 - fits


def skeleton(misses: Worst, alarms: Worst, model: LoadedModel, source: str) -> str:
    """Return the Markdown page, its last column empty."""
    caption = (
        f"Weights {model.sha256[:12]}, threshold {model.threshold:.3f}; {source}. Flagged at that threshold: "
        f"{misses.flagged} of {misses.images} tampered images and {alarms.flagged} of {alarms.images} authentic ones. "
        "Shown are the worst tampered ones by F1 and the worst authentic ones by evidence score; drawn by "
        "scripts/failure_gallery.py, the last column written by hand from looking at the pictures."
    )
    lines = [f"# Failures of {model.name}", "", caption, "", "![misses and false alarms](gallery.png)"]
    for heading, worst in (("Misses", misses), ("False alarms", alarms)):
        lines += ["", f"## {heading}", "", "| image | figures | why |", "|---|---|---|"]
        lines += [f"| {failure.name} | {failure.figures} | (to be written) |" for failure in worst.failures]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
