"""More published data sets in miniature, as in miniatures.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.data.loaders.miniatures import HEIGHT, WIDTH, masks, photos, rubbish, write
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

# Lines of MVSS-Net's list, which names mask folders as the image folders are named.
DEFACTO_12K_LIST = "".join(
    f"./DEFACTO/{part.format('images')}/img/{stem}.tif ./DEFACTO/{part.format('annotations')}/probe_mask/{mask} 1\n"
    for part, stem, mask in (
        ("Copy-Move-{}", "7_000000536154", "7_000000536154.jpg"),
        ("Splicing-{}-5", "19143_000000108129", "19143_000000108129.jpg"),
        ("Inpainting-{}", "0_000000411241", "0_000000411241.tif"),
    )
)
# Folders of images and of annotations, as MVSS-Net calls them and as the owners publish them.
DEFACTO_NAMES = {
    "mvss": ("Copy-Move-{}", "Splicing-{}-1", "Splicing-{}-5", "Inpainting-{}", "images"),
    "published": ("copymove_{}", "splicing_1_{}", "splicing_5_{}", "inpainting_{}", "img"),
}


def defacto(root: Path, naming: str = "published") -> Path:
    """DEFACTO: a name that two parts share, JPEG masks of copy-moves and splices, decoys beside the probe masks."""
    copies, first, fifth, removals, images = DEFACTO_NAMES[naming]
    stems = {
        copies: ("7_000000536154", "10_000000300786"),
        first: ("7_000000536154",),
        fifth: ("19143_000000108129",),
        removals: ("0_000000411241", "3_000000536154"),
    }
    for part, names in stems.items():
        photos(root / part.format(images) / "img", *(f"{name}.tif" for name in names))
        truth = root / part.format("annotations")
        suffix, decoy = ("tif", "inpaint_mask") if part == removals else ("jpg", "donor_mask")
        masks(truth / "probe_mask", *(f"{name}.{suffix}" for name in names))
        # Polarity tells the decoy from the mask.
        masks(truth / decoy, *(f"{name}.tif" for name in names), white=False)
        (truth / "graph").mkdir()
        (truth / "graph" / f"{names[0]}.json").write_text("{}")
        rubbish(root / part.format(images) / "img")
    return root


def defacto_12k(root: Path, naming: str = "mvss") -> Path:
    """MVSS-Net's list with DEFACTO and COCO beside it, both with images that are not on the list."""
    defacto(root / "DEFACTO", naming)
    photos(root / "CoCo2014" / "test2014", "COCO_test2014_000000409136.jpg", "COCO_test2014_000000000001.jpg")
    (root / "DEFACTO12k-test.txt").write_text(
        DEFACTO_12K_LIST + "./CoCo2014/test2014/COCO_test2014_000000409136.jpg None 0\n"
    )
    return root


def dso1(root: Path, *, converted: bool = False) -> Path:
    """DSO-1 in its archive: black = tampered unless `converted`, names without leading zeros, another set beside it."""
    base = root / "tifs-database"
    names = ("splicing-01.png", "splicing-02.png", "splicing-100.png")
    photos(base / "DSO-1", *names, "normal-01.png", "normal-100.png")
    masks(base / "DSO-1-Fake-Images-Masks", *names, white=converted)
    photos(base / "DSI-1", "splicing-01.jpg")
    rubbish(base / "DSO-1")
    return root


def cocoglide(root: Path) -> Path:
    """CocoGlide: three folders with three ways of naming; sorted order would pair two of three with the wrong mask."""
    real = ("dining table_114871", "airplane_563758", "teddy bear_73326")
    photos(root / "fake", *(f"glide_inpainting_val2017_{name.rsplit('_', 1)[1]}_up.png" for name in real))
    photos(root / "real", *(f"{name}.png" for name in real))
    masks(root / "mask", *(f"{name}_mask.png" for name in real))
    (root / "table.csv").write_text("real,fake,mask,prompt\n")
    rubbish(root / "mask")
    return root


def autosplice(root: Path) -> Path:
    """AutoSplice: three qualities of the same images, several edits of a photograph with one mask."""
    for quality in (100, 90, 75):
        photos(root / f"Forged_JPEG{quality}", "39406_0.jpg", "39406_1.jpg", "40574_2.jpg")
    photos(root / "Authentic", "39406.jpg", "40574.jpg", "62206.jpg")
    masks(root / "Mask", "39406_mask.png", "40574_mask.png")
    rubbish(root / "Mask")
    return root


def korus(root: Path) -> Path:
    """Korus: four cameras, a name that two of them share, a grey level in the masks that is tampered too."""
    cameras = {
        "Canon_60D": ("r0a2de7f4t",),
        "Nikon_D7000": ("DSC00012",),
        "Nikon_D90": ("DSC00012", "DSC00100"),
        "Sony_A57": ("DSC01535",),
    }
    levels = np.where(make_mask(box=(8, 8, 20, 16)), 255, 0) + np.where(make_mask(box=(8, 16, 20, 24)), 80, 0)
    for camera, stems in cameras.items():
        folder = root / "data-images" / camera
        photos(folder / "tampered-realistic", *(f"{stem}.TIF" for stem in stems))
        photos(folder / "pristine", *(f"{stem}.TIF" for stem in stems))
        for stem in stems:
            write(folder / "ground-truth" / f"{stem}.PNG", levels.astype(np.uint8))
        rubbish(folder / "pristine")
    return root


def dso1_through(root: Path, network: str, *, own_masks: bool = True, white: bool = True) -> Path:
    """DSO-1 after a network that halved the images: JPEG in place of PNG, masks in a folder inside if at all."""
    folder = root / f"DSO_{network}"
    photos(folder, "splicing-01.jpg", "splicing-02.jpg", "splicing-100.jpg", height=HEIGHT // 2, width=WIDTH // 2)
    if own_masks:
        masks(folder / "DSO_GT", "splicing-01_gt.png", "splicing-02_gt.png", "splicing-100_gt.png", white=white)
    rubbish(folder)
    return root
