"""CocoGlide: objects of COCO photographs replaced by the diffusion model GLIDE."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    images_in,
    pair_by_stem,
    unknown_layout,
    unpaired,
)
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# The number of the COCO photograph ends all names; the class before it ("dining table") stands in two of them only.
_NUMBER: Final = re.compile(r"_(\d+)(?:_up|_mask)?$", re.IGNORECASE)

_FACTS: Final = BenchmarkFacts(
    name="cocoglide",
    title="CocoGlide",
    aliases=("coco_glide",),
    tampered=512,
    authentic=512,
    tree="""\
fake/glide_inpainting_val2017_114871_up.png                   512 images with a generated object
mask/dining table_114871_mask.png                             512 masks
real/dining table_114871.png                                  512 authentic images, the same photographs
also: Tp, Gt, Au with these names""",
    mask_rule="white = tampered",
    publisher="GRIP, University Federico II of Naples: https://github.com/grip-unina/TruFor",
    terms="of the set: not stated; its photographs are those of COCO val2017",
    caveats=(
        "Every authentic image is the original of a tampered one: split by group only.",
        "Crops of 256 x 256 pixels, edited by a generative model: outside the domain of training on CASIA.",
    ),
)


def _load(root: Path) -> LoadedSet:
    """Read the set; images and masks have the number of their photograph in common."""
    images, masks = folder_in(root, "fake", "Tp"), folder_in(root, "mask", "Gt")
    if images is None or masks is None:
        raise unknown_layout(_FACTS, root, "folder fake" if images is None else "folder mask")
    mask_files = images_in(masks)
    stems, anomalies = _stems_by_number(mask_files)
    pairing = pair_by_stem(images_in(images), mask_files, lambda stem: stems.get(_number(stem), ()))
    pairs = [ImagePair(image, mask, authentic=False, group=_number(image.stem)) for image, mask in pairing.matched]
    authentic = images_in(folder_in(root, "real", "Au"))
    pairs += [ImagePair(path, None, authentic=True, group=_number(path.stem)) for path in authentic]
    return finished_set(_FACTS, root, pairs, [*anomalies, *unpaired(pairing)])


def _stems_by_number(masks: Sequence[Path]) -> tuple[dict[str, list[str]], list[Anomaly]]:
    """Return the stem of the mask of each photograph; two masks of one photograph are left out with an error."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        groups[_number(mask.stem)].append(mask)
    groups.pop("", None)  # without a number: left over by the pairing, and reported there
    twins = [
        Anomaly("duplicate", "error", f"{group[1].name} is a mask of the same photograph; neither was used.", group[0])
        for group in groups.values()
        if len(group) > 1
    ]
    return {number: [group[0].stem] for number, group in groups.items() if len(group) == 1}, twins


def _number(stem: str) -> str:
    found = _NUMBER.search(stem)
    return "" if found is None else found[1]


COCO_GLIDE: Final = Loader(_FACTS, _load)
