"""Rebuild the pictures of examples/, and their masks, from the photos they were made of.

    python scripts/make_examples.py --photos DIR [--out examples] [--masks docs/example_masks]

The photos are known by their SHA-256, so DIR may hold them under any names, among any others. Authentic examples are
byte-for-byte copies; forged ones come from `nclforensics.data.forge` with a fixed seed and index. A file that
comes out with other bytes than before, as another version of OpenCV may encode it, is named on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge, ForgedSample
from nclforensics.data.images import sha256_of
from nclforensics.data.manifest import ImagePair
from nclforensics.data.photos import PhotoPool

SEED: Final = 2
SIZE: Final = 512
PHOTOS: Final = {  # name -> SHA-256 of the file; the pool of the forge is all of them
    "river": "53fabeeec35c6204ff26e128069eca9282bc94ae8d12aabd047d1b49781d7263",
    "fruit": "969fdff4ce01be84573617f16fb06c555dae072c2c550c82c4ff4c74e1e76185",
    "pipes": "891b4bf779243509f082107531d29bbbb6cf1d44bcacfe59b1a17d9da8d24106",
    "garden": "dd272386806085e382bef0c3ce9c271526fb49a12c9db0c910cf9704c7dd9c36",
    "valley": "80b318018320dd7efc11684df2362c28021e452985946b15c81026d6b73e75ba",
    "bouquet": "efc62346dad8504e8e987ed3782f9c9569d255cec7b91f22c3c100eee4438230",
    "flowers": "006fb985b488a2596fddaefaa63423faa87c23f81bdb5380590efadd0606e10a",
    "avenue": "c0f3ef2f9686ba5766e6c4e2899f07408c27186c427b1fd65034e063f7e6d895",
    "card": "975bef309dcf682114b686958ad5f3e7b0d3c1b977c81dddf7472cea06c23580",
}
AUTHENTIC: Final = ("river", "fruit", "pipes", "garden", "valley")
FORGED: Final = {  # name -> (kind, index of the sample)
    "splice_pipes": ("splice", 18),
    "splice_bouquet": ("splice", 37),
    "copy_move_garden": ("copy_move", 0),
    "copy_move_valley": ("copy_move", 6),
    "removal_pipes": ("removal", 18),
    "removal_avenue": ("removal", 5),
}


def main() -> None:
    """Write the pictures, the manifest and the recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder that holds the photos, at any depth")
    parser.add_argument("--out", type=Path, default=Path("examples"))
    # The ground truth lies elsewhere: `nclf scan examples` scans every picture below examples/.
    parser.add_argument("--masks", type=Path, default=Path("docs/example_masks"))
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    pool = find_photos(arguments.photos)
    pairs = [copy_authentic(pool, name, arguments.out) for name in AUTHENTIC]
    recipes = []
    for name, (kind, index) in FORGED.items():
        sample = forge_sample(pool, kind, index)
        pairs.append(write_forged(sample, name, out=arguments.out, masks=arguments.masks))
        recipes.append(json.dumps({"example": name, **sample.recipe}) + "\n")
    (arguments.out / "recipes.jsonl").write_text("".join(recipes), encoding="utf-8")
    write_rows(pairs, arguments.out / "manifest.csv")
    for pair in pairs:
        for path in (pair.image, pair.mask):
            if path is not None:
                print(sha256_of(path), path.as_posix(), path.stat().st_size)


def find_photos(folder: Path) -> PhotoPool:
    """Return the pool of the photos above; stop if one is missing."""
    files = [file for file in PhotoPool.from_folder(folder).files if file.sha256 in PHOTOS.values()]
    missing = [name for name, sha256 in PHOTOS.items() if sha256 not in {file.sha256 for file in files}]
    if missing:
        sys.exit(f"{folder} lacks these photos, by SHA-256: {', '.join(PHOTOS[name] for name in missing)}")
    return PhotoPool(files)


def copy_authentic(pool: PhotoPool, name: str, out: Path) -> ImagePair:
    """Copy one photo as it is."""
    source = next(file.path for file in pool.files if file.sha256 == PHOTOS[name])
    target = out / "authentic" / f"{name}.jpg"
    write(target, source.read_bytes())
    return ImagePair(image=target, mask=None, authentic=True)


def forge_sample(pool: PhotoPool, kind: str, index: int) -> ForgedSample:
    """Forge one sample of a kind: larger than in training, the tampered share between 1.5 % and 20 %."""
    splice, copy_move, removal = (float(kind == name) for name in ("splice", "copy_move", "removal"))
    config = ForgeConfig(
        size=SIZE, authentic=0.0, splice=splice, copy_move=copy_move, removal=removal, min_area=0.015, max_area=0.2
    )
    return Forge(pool, config, SEED).sample(index)


def write_forged(sample: ForgedSample, name: str, *, out: Path, masks: Path) -> ImagePair:
    """Write the image with its own JPEG bytes where its history ends with JPEG, and the mask with 0 and 255."""
    if sample.encoded is None:
        image, data = out / "forged" / f"{name}.png", png(cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
    else:
        image, data = out / "forged" / f"{name}.jpg", sample.encoded
    mask = masks / f"{name}.png"
    write(image, data)
    write(mask, png(sample.mask.astype(np.uint8) * 255))
    return ImagePair(image=image, mask=mask, authentic=False)


def write_rows(pairs: list[ImagePair], path: Path) -> None:
    """Write the manifest; masks are named relative to it, with `..`."""
    rows = ["image,mask,authentic"]
    for pair in pairs:
        names = [os.path.relpath(part, path.parent) if part else "" for part in (pair.image, pair.mask)]
        rows.append(f"{names[0]},{names[1]},{int(pair.authentic)}")
    write(path, ("\n".join(rows) + "\n").encode())


def png(pixels: cv2.typing.MatLike) -> bytes:
    """Return pixels (BGR or grey) as the bytes of a PNG file."""
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def write(path: Path, data: bytes) -> None:
    """Write a file, and say so if it replaces one with other content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(data).digest():
        print(f"{path} differs from what was there", file=sys.stderr)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
