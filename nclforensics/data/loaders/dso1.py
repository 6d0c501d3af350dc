"""DSO-1: splices of people, made and published by the RECOD laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    images_in,
    pair_by_stem,
    unknown_layout,
    unpaired,
)
from nclforensics.data.loaders.polarity import with_polarity
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from pathlib import Path

_IMAGES: Final = ("DSO-1", "tifs-database/DSO-1", "images", "Tp")
_MASKS: Final = ("DSO-1-Fake-Images-Masks", "tifs-database/DSO-1-Fake-Images-Masks", "masks", "Gt")

_FACTS: Final = BenchmarkFacts(
    name="dso-1",
    title="DSO-1",
    aliases=("dso", "tifs-database"),
    tampered=100,
    authentic=100,
    tree="""\
DSO-1/splicing-01.png                                         100 splices
DSO-1/normal-01.png                                           100 authentic images
DSO-1-Fake-Images-Masks/splicing-01.png                       100 masks, inverted
also: below a folder tifs-database; images, masks; Tp, Gt, Au (IMDL-BenCo)""",
    mask_rule="black = tampered; copies with white = tampered are recognized by their median share",
    publisher="RECOD laboratory, University of Campinas: https://recodbr.wordpress.com/code-n-data/#dso1_dsi1",
    terms="see that page; cite Carvalho et al., IEEE TIFS 2013",
    caveats=("Read without inverting the masks, mean tampered area is 85 % and any score looks good.",),
)


def _load(root: Path) -> LoadedSet:
    """Read the set in any of its layouts, or from its folder of images with the masks beside it."""
    images = folder_in(root, *_IMAGES) or root
    masks = folder_in(root, *_MASKS) or folder_in(images.parent, _MASKS[0])
    if masks is None:
        raise unknown_layout(_FACTS, root, f"folder of masks ({', '.join(_MASKS)})")
    named = images_in(images)
    splices = [path for path in named if path.stem.lower().startswith("splicing")]
    if not splices:
        raise unknown_layout(_FACTS, root, f"image called splicing-NN.png in {images}")
    pairing = pair_by_stem(splices, images_in(masks), lambda stem: (stem, f"{stem}_gt", f"{stem}_mask"))
    pairs = [ImagePair(image, mask, authentic=False, kind="splice") for image, mask in pairing.matched]
    ruled, polarity = with_polarity(pairs, published="dark", otherwise="bright")
    authentic = [path for path in named + images_in(folder_in(root, "Au")) if path.stem.lower().startswith("normal")]
    ruled += [ImagePair(path, None, authentic=True) for path in authentic]
    return finished_set(_FACTS, root, ruled, [*unpaired(pairing), *polarity])


DSO_1: Final = Loader(_FACTS, _load)
