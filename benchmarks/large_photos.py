"""What a model makes of photos much larger than those that it was calibrated on.

    python -m benchmarks.large_photos PHOTOS [--only CSV] [--weights MODEL] [--splices 32] [--seed 0] [--as-if-small]

PHOTOS is a folder of authentic photos, none of which was edited in a part, or, with `--only`, one that holds them
among other pictures: unpack the packages that `benchmarks/large_photos.csv` names, of which it lists the photographs
by their SHA-256. Each is scanned as it is. Then splices are made: a piece of 3 to 15 % of a photo's area, with a soft
border, from another photo that may have been resized and saved as JPEG before; saved as JPEG at 90 to 98. Hosts are
photos of more than four times the pixels of the largest one that the model was calibrated on, cut to 2400 pixels a
side. Counted are the images that show a region, and the splices whose regions are the right ones: f1 above 0.5.
`--as-if-small` scans them as images of any size are scanned.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality_facts import saved
from nclforensics.data.images import read_image, sha256_of
from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.regions import regions_above
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.inference import Localizer
from nclforensics.results import MUCH_LARGER, is_much_larger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.networks.weights import LoadedModel

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
BANDS: Final = (0.0, 0.8, 1.5, 3.1, 6.0, 1000.0)  # megapixels
LONGEST: Final = 2400
CORNERS: Final = 24  # of a piece
RIGHT: Final = 0.5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--only", type=Path, metavar="CSV", help="a list with the column sha256: only these photos")
    parser.add_argument("--weights", help="a model, as for nclf scan")
    parser.add_argument("--splices", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-if-small", action="store_true", help="do not leave out blown-out highlights")
    arguments = parser.parse_args()
    model = load_model(arguments.weights)
    if arguments.as_if_small:
        model.network.calibrated_pixels = 0
    localizer = Localizer(model.network, device=torch.device("cpu"))
    paths = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    if arguments.only is not None:
        paths = listed(paths, arguments.only)
    sizes = print_authentic(model, localizer, paths)
    largest = model.calibration.largest_pixels
    hosts = [path for path, pixels in zip(paths, sizes, strict=True) if is_much_larger(pixels, largest)]
    if len(hosts) < 2:  # noqa: PLR2004 - a host and a donor
        limit = f"{MUCH_LARGER * largest / 1e6:.1f} megapixels"
        parser.error(f"Expected two photos at least of more than {limit} to splice, found {len(hosts)}.")
    print_splices(model, localizer, splices(hosts, arguments.splices, arguments.seed))


def listed(paths: list[Path], only: Path) -> list[Path]:
    """Return the photos of a list, in its order, the first of equal files each.

    Raises:
        FileNotFoundError: If one of them is not there; the message names it.
    """
    found = {sha256_of(path): path for path in reversed(paths)}
    with only.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["sha256"] not in found:
            raise FileNotFoundError(
                f"Expected {row['file']} of {row['package']} among the photos, found no such bytes."
            )
    return [found[row["sha256"]] for row in rows]


def print_authentic(model: LoadedModel, localizer: Localizer, paths: list[Path]) -> list[int]:
    """Print how many authentic photos of each size show a region, and return their numbers of pixels."""
    counts: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    sizes = []
    for path in paths:
        image = read_image(path).pixels
        sizes.append(image[..., 0].size)
        band = max(lower for lower in BANDS if sizes[-1] >= lower * 1e6)
        counts[band] = [counts[band][0] + 1, counts[band][1] + bool(marked(model, localizer, image).any())]
    print("| authentic, megapixels | photos | show a region |\n|---|---|---|")
    for lower, upper in pairwise(BANDS):
        if lower in counts:
            print(f"| {lower:g} to {upper:g} | {counts[lower][0]} | {counts[lower][1]} |")
    return sizes


def print_splices(model: LoadedModel, localizer: Localizer, made: Iterator[tuple[Image, Mask]]) -> None:
    """Print how many splices show regions, in the right place and elsewhere, and their mean f1."""
    figures = []
    for image, mask in made:
        prediction = marked(model, localizer, image)
        counts = confusion_at(prediction.astype(np.float32), mask, threshold=0.5)
        figures.append((prediction.any(), counts.f1))
    found, f1 = np.array(figures).T
    print("\n| splices | regions in the right place | regions elsewhere | mean f1 |\n|---|---|---|---|")
    right = np.count_nonzero(f1 > RIGHT)
    print(f"| {len(f1)} | {right} | {np.count_nonzero(found) - right} | {f1.mean():.3f} |")


def marked(model: LoadedModel, localizer: Localizer, image: Image) -> Mask:
    """Return the regions that count at the model's threshold."""
    scores = localizer.localize(image)
    return regions_above(scores, threshold=model.threshold, min_region=model.calibration.min_region)[0]


def splices(hosts: list[Path], count: int, seed: int) -> Iterator[tuple[Image, Mask]]:
    """Yield spliced images and what was pasted."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        host, donor = (read_image(hosts[index]).pixels for index in rng.choice(len(hosts), 2, replace=False))
        yield spliced(host[:LONGEST, :LONGEST].copy(), with_history(donor, rng), rng)


def with_history(donor: Image, rng: np.random.Generator) -> Image:
    """Return the donor, resized by 0.7 to 1.3 in half of the cases, and saved at 60 to 91 in half."""
    if rng.random() < 0.5:  # noqa: PLR2004 - half
        factor = rng.uniform(0.7, 1.3)
        donor = np.asarray(cv2.resize(donor, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
    return saved(donor, int(rng.integers(60, 92)))[1] if rng.random() < 0.5 else donor  # noqa: PLR2004


def spliced(host: Image, donor: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return the host with a piece of the donor, saved, and where the piece is."""
    area = host[..., 0].size * rng.uniform(0.03, 0.15)
    side = min(int(1.3 * area**0.5), *host.shape[:2], *donor.shape[:2])
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radius = side / 2 * rng.uniform(0.65, 1, CORNERS)
    corners = np.stack([side / 2 + radius * np.cos(turn), side / 2 + radius * np.sin(turn)], axis=1)
    piece = np.zeros((side, side), np.uint8)
    cv2.fillPoly(piece, [corners.astype(np.int32)], 255)
    soft = (cv2.GaussianBlur(piece, (0, 0), 1.5) / 255)[..., None]
    top, left, above, before = (int(rng.integers(n - side + 1)) for n in (*host.shape[:2], *donor.shape[:2]))
    place = np.s_[top : top + side, left : left + side]
    host[place] = host[place] * (1 - soft) + donor[above : above + side, before : before + side] * soft + 0.5
    mask = np.zeros(host.shape[:2], np.bool_)
    mask[place] = piece > 0
    return saved(host, int(rng.integers(90, 99)))[1], mask


if __name__ == "__main__":
    main()
