"""How well the alignment test tells correct ground truth from displaced and shuffled.

    python benchmarks/alignment_check.py PATH...

Each PATH is a data set as `nclf data check` takes it. Its masks are used as they are, displaced by 8, 16 and 32 pixels
(to the right and down), inverted, and given to other images. Then small subsets are drawn, to see how many images the
test needs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.data import alignment
from nclforensics.data.alignment import Alignment, AlignmentMeter
from nclforensics.data.images import read_image
from nclforensics.data.sets import load_set
from nclforensics.pipelines.dataset_check import ground_truth_of_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pair = tuple["NDArray[np.uint8]", "NDArray[np.bool_]"]
SHIFTS = (8, 16, 32)
SUBSETS = (4, 6, 8, 10, 12, 15, 20, 40, 80)
DRAWS = 100


def main() -> None:
    """Print one table a data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH")
    for path in parser.parse_args().paths:
        pairs = read_pairs(path)
        print(f"\n{Path(path).name}: {len(pairs)} tampered images")
        report(pairs)
        if len(pairs) >= SUBSETS[0]:
            report_subsets(pairs)


def read_pairs(path: str) -> list[Pair]:
    """Decode the tampered images of a set and their masks."""
    chosen = [pair for pair in load_set(path).pairs if not pair.authentic][: alignment.MAX_IMAGES]
    images = [read_image(pair.image).pixels for pair in chosen]
    return [
        (image, ground_truth_of_size(pair, (image.shape[0], image.shape[1])))
        for pair, image in zip(chosen, images, strict=True)
    ]


def report(pairs: list[Pair]) -> None:
    """Print the outcome for the masks as they are and for each planted fault."""
    print(f"{'masks':<18}{'verdict':<12}{'shift x, y':>14}{'height':>8}{'rest':>7}{'near 0':>9}{'centred':>9}")
    print_row("as they are", measured(pairs))
    for pixels in SHIFTS:
        print_row(f"right {pixels}", measured([(image, displaced(mask, pixels, 0)) for image, mask in pairs]))
        print_row(f"down {pixels}", measured([(image, displaced(mask, 0, pixels)) for image, mask in pairs]))
    print_row("inverted", measured([(image, ~mask) for image, mask in pairs]))
    for seed in range(3):
        print_row(f"shuffled, seed {seed}", measured(shuffled(pairs, np.random.default_rng(seed))))


def report_subsets(pairs: list[Pair]) -> None:
    """Print how often subsets of correct, displaced and shuffled masks are found aligned, and how high they rise."""
    kinds = {
        "correct": meters_of(pairs),
        "right 16": meters_of([(image, displaced(mask, 16, 0)) for image, mask in pairs]),
        "shuffled": meters_of(shuffled(pairs, np.random.default_rng(0))),
    }
    print(f"{'subsets of':<18}" + "".join(f"{kind:>54}" for kind in kinds))
    for size in (size for size in SUBSETS if size <= len(pairs)):
        rng = np.random.default_rng(size)
        drawn = [rng.choice(len(pairs), size, replace=False) for _ in range(DRAWS)]
        cells = [outcome([summed(meters, indices) for indices in drawn]) for meters in kinds.values()]
        print(f"{size:<18}" + "".join(f"{cell:>54}" for cell in cells))


def outcome(results: list[Alignment]) -> str:
    """Say how often which verdict was reached, and how high surfaces rose near zero."""
    counts = Counter(result.verdict for result in results)
    near = [result.near_zero for result in results]
    return f"{', '.join(f'{n} {verdict}' for verdict, n in counts.items())}; {min(near):.1f} to {max(near):.1f}"


def measured(pairs: list[Pair]) -> Alignment:
    """Return the outcome of the test."""
    meter = AlignmentMeter()
    for image, mask in pairs:
        meter.add(image, mask)
    return meter.result()


def meters_of(pairs: list[Pair]) -> list[AlignmentMeter]:
    """Return one meter an image, so that subsets need no second transform."""
    meters = []
    for image, mask in pairs:
        meter = AlignmentMeter()
        meter.add(image, mask)
        meters.append(meter)
    return meters


def summed(meters: list[AlignmentMeter], indices: NDArray[np.int_]) -> Alignment:
    """Return the outcome for some of the images."""
    total = AlignmentMeter()
    for index in indices:
        total.merge(meters[index])
    return total.result()


def displaced(mask: NDArray[np.bool_], right: int, down: int) -> NDArray[np.bool_]:
    """Return the mask moved by whole pixels; what leaves the image is lost."""
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return np.asarray(cv2.warpAffine(mask.astype(np.uint8), matrix, mask.shape[::-1]), np.bool_)


def shuffled(pairs: list[Pair], rng: np.random.Generator) -> list[Pair]:
    """Give every image the mask of another one, brought to its size."""
    order = rng.permutation(len(pairs))
    return [
        (pairs[image][0], resized(pairs[mask][1], pairs[image][1].shape))
        for image, mask in zip(order, np.roll(order, 1), strict=True)
    ]


def resized(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask at another size, nearest neighbour."""
    return np.asarray(cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.bool_)


def print_row(name: str, result: Alignment) -> None:
    """Print one line of the table."""
    shift = f"{result.shift[0]:.0f}, {result.shift[1]:.0f}"
    print(
        f"{name:<18}{result.verdict:<12}{shift:>14}{result.height:>8.1f}{result.rest:>7.1f}{result.near_zero:>9.1f}"
        f"{result.centred:>9.2f}"
    )


if __name__ == "__main__":
    main()
