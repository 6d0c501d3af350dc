"""Draw the README's picture: photo, ground truth and overlay of some examples, from the output of a real scan.

nclf scan examples --out masks --overlay && python scripts/example_sheet.py masks docs/images/examples.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.data.images import read_image, read_mask
from nclforensics.data.manifest import ImagePair, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 240  # pixels of a cell
GAP = 6
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Read the manifest and the scan's output, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks", type=Path, help="output folder of the scan")
    parser.add_argument("out", type=Path, help="JPEG to write")
    arguments = parser.parse_args()
    pairs = read_manifest(ROOT / "examples")
    forged = [pair for pair in pairs if pair.image.parent.name == "forged"]
    chosen = [*forged, *[pair for pair in pairs if pair.authentic][:2]]
    columns = [column(pair, arguments.masks) for pair in chosen]
    sheet = np.concatenate(columns, axis=1)
    cv2.imwrite(str(arguments.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def column(pair: ImagePair, masks: Path) -> NDArray[np.uint8]:
    """Return photo, ground truth and overlay of one example, one below the other."""
    photo = read_image(pair.image).pixels
    truth = np.zeros(photo.shape, np.uint8)
    if pair.mask is not None:
        truth[read_mask(pair.mask)] = 255
    inside = pair.image.relative_to(ROOT / "examples")
    overlay = read_image(masks / inside.parent / f"{inside.name}.overlay.png").pixels
    return np.concatenate([cell(picture) for picture in (photo, truth, overlay)], axis=0)


def cell(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture's middle square at the cell's size, with a white gap around it."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.pad(np.asarray(square, np.uint8), ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
