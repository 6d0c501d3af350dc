"""Rebuild the edited pictures of examples/edited/, and their masks, from the photos they were made of.

    python scripts/make_edited_examples.py --photos DIR [--out examples] [--masks docs/example_masks]
    nclf scan examples --out DIR2 --overlay
    python scripts/make_edited_examples.py --photos DIR --sheet DIR2 docs/images/edited.jpg    # the README's picture

Nothing here is drawn by chance and nothing is the forge's: somebody looked at each photo, chose what to change, and
set places, colours, edges and grain by eye, as one does in an image editor. The photos are known by their SHA-256, so
DIR may hold them under any names. A mask is 255 where the editing covered a pixel by more than a sixteenth. Rows that
manifest.csv lacks are added: run it after scripts/make_examples.py, which writes that file.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.photos import PhotoPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.float32]  # (H, W, 3), BGR, grey levels
    Cover = NDArray[np.float32]  # (H, W), how much of a pixel is new, in [0, 1]

PHOTOS: Final = {  # name -> SHA-256 of the file
    "bouquet": "efc62346dad8504e8e987ed3782f9c9569d255cec7b91f22c3c100eee4438230",
    "card": "975bef309dcf682114b686958ad5f3e7b0d3c1b977c81dddf7472cea06c23580",
    "griddle": "746cfda6729ff420007f57f7edd70150ab1f517a5ba57879b575b6bccf3efa71",
    "pavement": "6b173d23668bc08ed4daf07c117b8541c5dd8f8583e99bc5648411207dc0e88e",
}
CELL: Final = (480, 372)  # width and height of a cell of the sheet
GAP: Final = 4


def main() -> None:
    """Write pictures and masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder that holds the photos, at any depth")
    parser.add_argument("--out", type=Path, default=Path("examples"))
    parser.add_argument("--masks", type=Path, default=Path("docs/example_masks"))
    parser.add_argument("--sheet", type=Path, nargs=2, help="output folder of a scan, and the JPEG to write")
    arguments = parser.parse_args()
    photos = find_photos(arguments.photos)
    manifest = arguments.out / "manifest.csv"
    if not manifest.is_file():
        parser.error(f"expected {manifest}, found none: run scripts/make_examples.py --out {arguments.out} first")
    rows = manifest.read_text(encoding="utf-8").splitlines()
    for name, (_, edit, quality) in EDITS.items():
        picture, cover = edit(photos)
        image, mask = arguments.out / "edited" / f"{name}.jpg", arguments.masks / f"{name}.png"
        write(image, picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        write(mask, np.where(cover > 1 / 16, 255, 0), [])
        row = f"edited/{name}.jpg,{os.path.relpath(mask, arguments.out)},0"
        rows += [] if row in rows else [row]
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    if arguments.sheet:
        scan, sheet = arguments.sheet
        parts = [sheet_row(name, photos, arguments, scan / "edited") for name in EDITS]
        write(sheet, np.concatenate(parts), [cv2.IMWRITE_JPEG_QUALITY, 88])


def sheet_row(name: str, photos: dict[str, Picture], arguments: argparse.Namespace, scan: Path) -> Picture:
    """Return the photo before and after, the truth, and what a scan made of it, side by side."""
    after, truth, found = (
        np.asarray(cv2.imread(str(path)), np.float32)
        for path in (
            arguments.out / "edited" / f"{name}.jpg",
            arguments.masks / f"{name}.png",
            scan / f"{name}.jpg.overlay.png",
        )
    )
    return np.concatenate([cell(picture) for picture in (photos[EDITS[name][0]], after, truth, found)], axis=1)


def cell(picture: Picture) -> Picture:
    """Return a picture fitted into a cell of the sheet, on white."""
    scale = min((side - 2 * GAP) / length for side, length in zip(CELL, picture.shape[1::-1], strict=True))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    margins = [(total - length) // 2 for total, length in zip(CELL[::-1], small.shape[:2], strict=True)]
    full = np.full((CELL[1], CELL[0], 3), 255, np.float32)
    full[margins[0] : margins[0] + small.shape[0], margins[1] : margins[1] + small.shape[1]] = small
    return full


def card_on_the_cloth(photos: dict[str, Picture]) -> tuple[Picture, Cover]:
    """Splice: the ace of spades is laid beside the bouquet, in its perspective, with a shadow and warmer light."""
    cloth, table = photos["bouquet"], photos["card"]
    corners = np.array([(404, 90), (597, 91), (601, 361), (389, 358)], np.float32)
    places = np.array([(716, 462), (858, 492), (800, 668), (640, 622)], np.float32)
    size = (cloth.shape[1], cloth.shape[0])
    turned = cv2.getPerspectiveTransform(corners, places)
    card = cv2.warpPerspective(table, turned, size, flags=cv2.INTER_AREA) * (0.84, 0.92, 1.0)
    cover = polygon(cloth, places, feather=1.2)
    shadow = polygon(cloth, places + np.array((7, 9), np.float32), feather=9.0)
    shaded = cloth * (1 - 0.45 * shadow[..., None])
    return blended(shaded, card.astype(np.float32), cover), np.maximum(cover, shadow * (shadow > 1 / 8))


def one_more_pancake(photos: dict[str, Picture]) -> tuple[Picture, Cover]:
    """Copy-move: the pancake in front once more, smaller and turned, where the griddle was empty."""
    griddle = photos["griddle"]
    size = (griddle.shape[1], griddle.shape[0])
    moved = cv2.getRotationMatrix2D((680, 558), 14, 0.66)
    moved[:, 2] += (-296, 70)
    cover = np.zeros(griddle.shape[:2], np.float32)
    cv2.ellipse(cover, (680, 558), (166, 106), 4, 0, 360, 1.0, -1, cv2.LINE_AA)
    cover = np.asarray(cv2.GaussianBlur(cv2.warpAffine(cover, moved, size), (0, 0), 1.5), np.float32)
    again = np.asarray(cv2.warpAffine(griddle, moved, size, flags=cv2.INTER_AREA), np.float32)
    return blended(griddle, again, cover), cover


def nobody_stood_there(photos: dict[str, Picture]) -> tuple[Picture, Cover]:
    """Removal: the shoes at the pavement's edge are stamped over with concrete from above them."""
    pavement = photos["pavement"]
    corners = np.array([(-40, 466), (44, 462), (80, 528), (166, 552), (182, 600), (170, 690), (-40, 690)], np.float32)
    cover = polygon(pavement, corners, feather=5.0)
    # Left of the joint the darker strip, right of it the brown one.
    strip, brown = np.roll(pavement, 168, axis=0), np.roll(pavement, 112, axis=0)
    right = polygon(pavement, np.array([(104, -30), (670, -30), (670, 670), (108, 670)], np.float32), feather=2.0)
    return blended(pavement, blended(strip * 0.87, brown, right), cover), cover


# name -> the photo before, the editing, the quality it is saved at
EDITS: Final[dict[str, tuple[str, Callable[[dict[str, Picture]], tuple[Picture, Cover]], int]]] = {
    "splice_card": ("bouquet", card_on_the_cloth, 92),
    "copy_move_pancake": ("griddle", one_more_pancake, 90),
    "removal_shoes": ("pavement", nobody_stood_there, 94),
}


def polygon(picture: Picture, corners: NDArray[np.float32], *, feather: float) -> Cover:
    """Return how much of each pixel a polygon covers, its edge blurred by `feather` pixels."""
    cover = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(cover, [np.round(corners * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), feather), np.float32)


def blended(below: Picture, above: Picture, cover: Cover) -> Picture:
    """Return one picture laid over another."""
    return below * (1 - cover[..., None]) + above * cover[..., None]


def find_photos(folder: Path) -> dict[str, Picture]:
    """Return the named photos, found by their digests.

    Raises:
        SystemExit: If one is missing.
    """
    wanted = {digest: name for name, digest in PHOTOS.items()}
    found = {
        wanted[file.sha256]: np.asarray(cv2.imread(str(file.path)), np.float32)
        for file in PhotoPool.from_folder(folder).files
        if file.sha256 in wanted
    }
    if missing := PHOTOS.keys() - found.keys():
        raise SystemExit(
            f"Expected the photos {', '.join(sorted(missing))} in {folder}: their SHA-256 is in the script."
        )
    return found


def write(path: Path, picture: NDArray[np.generic], flags: list[int]) -> None:
    """Write a picture and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(picture).clip(0, 255).round().astype(np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels, flags)[1].tobytes())
    print(path)


if __name__ == "__main__":
    main()
