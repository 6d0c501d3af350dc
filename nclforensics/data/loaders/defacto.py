"""DEFACTO: automatic forgeries of COCO photographs, whole, and the 12,000 images that MVSS-Net is tested on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nclforensics.data.formats.mvss_list import mvss_pairs
from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    folders_in,
    images_in,
    lost_in_bulk,
    pair_by_stem,
    unknown_layout,
    unpaired,
)
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Copy-Move-images, Splicing-images-5 and Inpainting-annotations (MVSS-Net), or copymove_img, splicing_5_img and
# inpainting_annotations (as published).
_PART: Final = re.compile(
    r"(?P<kind>copy-?move|splicing|inpainting)[-_ ]?(?P<before>\d*)[-_ ]?(?P<role>img|images|annotations)[-_ ]?"
    r"(?P<after>\d*)",
    re.IGNORECASE,
)
_KINDS: Final = {"copymove": "copy-move", "splicing": "splice", "inpainting": "removal"}
_IMAGES, _MASKS = "images", "masks"
_DEPTH: Final = 3  # parts lie in the root, in DEFACTO/, or in DEFACTO/defacto-splicing/
_LIST: Final = "DEFACTO12k-test.txt"
_COCO: Final = ("CoCo2014/test2014", "COCO2014/test2014", "test2014")
_ROUNDING: Final = 0.01  # the owners give numbers of images in thousands
_PUBLISHER: Final = "DEFACTO project: https://defactodataset.github.io"
_TERMS: Final = "see that page; the photographs are those of COCO"
_MASK_RULE: Final = "white = tampered, at least 128 of 255: masks of copy-moves and splices are JPEG"
_CAVEATS: Final = (
    "Many regions are tiny: F1 is low and noisy.",
    "Several forgeries come from one COCO photograph: split by group only.",
)

_FACTS: Final = BenchmarkFacts(
    name="defacto",
    title="DEFACTO",
    aliases=("DEFACTODataset",),
    tampered=149_000,
    authentic=0,
    tree="""\
copymove_img/img/7_000000536154.tif                           about 19,000 copy-moves
copymove_annotations/probe_mask/7_000000536154.jpg            their masks (donor_mask is the source: not used)
splicing_{1..7}_img/img/19143_000000108129.tif                about 105,000 splices
splicing_{1..7}_annotations/probe_mask/19143_000000108129.jpg their masks
inpainting_img/img/0_000000411241.tif                         about 25,000 removals
inpainting_annotations/probe_mask/0_000000411241.tif          their masks, TIFF (inpaint_mask is not used)
also: Copy-Move-images, Splicing-images-{1..7}, Inpainting-images with Copy-Move-annotations and so on (MVSS-Net);
any of the parts alone; below a folder DEFACTO, or each below a folder of its own""",
    mask_rule=_MASK_RULE,
    publisher=_PUBLISHER,
    terms=_TERMS,
    caveats=(*_CAVEATS, "The numbers of images are the owners', rounded to thousands."),
)
_FACTS_12K: Final = BenchmarkFacts(
    name="defacto12k",
    title="DEFACTO-12k",
    aliases=("defacto-12k-test",),
    tampered=6000,
    authentic=6000,
    tree=f"""\
{_LIST}                                           MVSS-Net's list, paths relative to its folder
DEFACTO/...                                                   DEFACTO in any layout of "defacto": 6,000 of its images
CoCo2014/test2014/COCO_test2014_000000409136.jpg              6,000 authentic images of COCO 2014""",
    mask_rule=_MASK_RULE,
    publisher=f"list: https://github.com/dong03/MVSS-Net, folder data; images: {_PUBLISHER} and https://cocodataset.org",
    terms=f"of the list: not stated; of DEFACTO: {_TERMS}",
    caveats=_CAVEATS,
)
_Part = tuple[str, str, str]  # kind, number of the part, role


def _load(root: Path) -> LoadedSet:
    """Read all parts that are there; every part is paired on its own, since names occur in several."""
    parts = _parts(root)
    pairs: list[ImagePair] = []
    anomalies: list[Anomaly] = []
    for (kind, number, role), folder in parts.items():
        if role == _MASKS:
            continue
        pairing = pair_by_stem(images_in(folder), images_in(parts.get((kind, number, _MASKS))), lambda stem: (stem,))
        pairs += [_described(ImagePair(image, mask, authentic=False), kind) for image, mask in pairing.matched]
        anomalies += unpaired(pairing)
    if not pairs:
        raise unknown_layout(
            _FACTS, root, "part with images and masks (such as splicing_1_img, splicing_1_annotations)"
        )
    faces = [each for parent in (root, *folders_in(root)) for each in folders_in(parent) if "face" in each.name.lower()]
    anomalies += [Anomaly("ignored", "note", "Forged faces are not part of this benchmark.", path) for path in faces]
    loaded = finished_set(_FACTS, root, pairs, anomalies)
    if abs(len(pairs) - _FACTS.tampered) > _ROUNDING * _FACTS.tampered:
        return loaded
    return replace(loaded, anomalies=tuple(each for each in loaded.anomalies if each.kind != "count"))


def _load_12k(root: Path) -> LoadedSet:
    """Read the images that the list names, wherever this copy of DEFACTO has them."""
    index = root / _LIST
    if not index.is_file():
        raise unknown_layout(_FACTS_12K, root, f"list {_LIST}")
    parts, coco = _parts(root), folder_in(root, *_COCO)
    listed = [_placed(pair, parts, coco) for pair in mvss_pairs(index)]
    gone = [pair.image for pair in listed if not pair.image.is_file()]
    bare = [pair.image for pair in listed if not (pair.authentic or (pair.mask is not None and pair.mask.is_file()))]
    left_out = {*gone, *bare}
    anomalies = [Anomaly("count", "warning", f"{_LIST} names it, but it is missing.", path) for path in gone]
    message = f"The mask that {_LIST} names is missing."
    anomalies += [Anomaly("unpaired-image", "warning", message, path) for path in bare if path.is_file()]
    tampered = [pair.image for pair in listed if not pair.authentic]
    lost = len(left_out.intersection(tampered))
    anomalies += lost_in_bulk(lost, len(tampered), f"that {_LIST} names are missing, or their masks are")
    usable = [pair for pair in listed if pair.image not in left_out]
    # Most of DEFACTO and COCO is not on the list.
    others = _files_beside(usable)
    return finished_set(_FACTS_12K, root, usable, anomalies, left_out=others)


def _parts(root: Path) -> dict[_Part, Path]:
    """Return the folders of images and of probe masks, by kind, number and role."""
    parts: dict[_Part, Path] = {}
    level = [root]
    for _ in range(_DEPTH):
        level = [folder for parent in level for folder in folders_in(parent)]
        for folder in level:
            part = _part_named(folder.name)
            inner = folder_in(folder, "probe_mask" if part and part[2] == _MASKS else "img")
            if part is not None and (inner is not None or part[2] == _IMAGES):
                parts.setdefault(part, inner or folder)
        level = [folder for folder in level if _part_named(folder.name) is None]
    return parts


def _part_named(name: str) -> _Part | None:
    found = _PART.fullmatch(name)
    if found is None:
        return None
    role = _MASKS if found["role"].lower() == "annotations" else _IMAGES
    return _KINDS[found["kind"].lower().replace("-", "")], found["before"] or found["after"], role


def _described(pair: ImagePair, kind: str) -> ImagePair:
    """Add the kind, and as group the COCO photograph: the last field of 7_000000536154 and COCO_test2014_..."""
    return replace(pair, kind=kind, group=pair.image.stem.rsplit("_", 1)[-1])


def _placed(pair: ImagePair, parts: dict[_Part, Path], coco: Path | None) -> ImagePair:
    """Replace the paths of the list by those of this copy."""
    kind = next((part[0] for folder in pair.image.parts if (part := _part_named(folder)) is not None), "")
    mask = None if pair.mask is None else _found(pair.mask, parts, coco)
    return _described(replace(pair, image=_found(pair.image, parts, coco), mask=mask), kind)


def _found(path: Path, parts: dict[_Part, Path], coco: Path | None) -> Path:
    if path.is_file():
        return path
    part = next((part for folder in reversed(path.parts) if (part := _part_named(folder)) is not None), None)
    folder = coco if part is None else parts.get(part)
    return path if folder is None else folder / path.name


def _files_beside(pairs: Iterable[ImagePair]) -> list[Path]:
    folders = {path.parent for pair in pairs for path in (pair.image, pair.mask) if path is not None}
    return images_in(*folders)


DEFACTO: Final = Loader(_FACTS, _load)
DEFACTO_12K: Final = Loader(_FACTS_12K, _load_12k)
