"""AutoSplice: press photographs edited by DALL-E 2, published at three JPEG qualities."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import Pairing, finished_set, folder_in, images_in, unknown_layout, unpaired
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_EDIT: Final = re.compile(r"_\d+$")  # the edits 39406_0, 39406_1 and 39406_2 of photograph 39406 share its mask


def _facts(name: str, quality: int, *other_names: str) -> BenchmarkFacts:
    return BenchmarkFacts(
        name=name,
        title=f"AutoSplice (JPEG {quality})",
        aliases=(f"autosplice_jpeg{quality}", *other_names),
        tampered=3621,
        authentic=2273,
        tree=f"""\
Forged_JPEG{quality}/39406_0.jpg                                  3,621 edited images
Mask/39406_mask.png                                           one mask for all edits of a photograph
Authentic/39406.jpg                                           2,273 authentic images
the folder holds Forged_JPEG100, Forged_JPEG90 and Forged_JPEG75; this set is Forged_JPEG{quality}""",
        mask_rule="white = tampered",
        publisher="University at Buffalo: https://github.com/shanface33/AutoSplice_Dataset (by a form)",
        terms="academic research, noncommercial, for educational institutes",
        caveats=(
            "The three JPEG qualities are the same images: quote each alone, never their union.",
            "Authentic images have JPEG quality 75: at 100 and 90 an image-level score may follow the compression.",
            "Up to three edits come from one photograph, whose original is among the authentic: split by group only.",
        ),
    )


def _load(root: Path, *, facts: BenchmarkFacts, quality: int) -> LoadedSet:
    """Read one of the three qualities."""
    wanted = f"Forged_JPEG{quality}"
    images, masks = folder_in(root, wanted), folder_in(root, "Mask")
    if images is None or masks is None:
        raise unknown_layout(facts, root, f"folder {wanted}" if images is None else "folder Mask")
    pairing = _pair(images_in(images), images_in(masks))
    pairs = [
        ImagePair(image, mask, authentic=False, group=_EDIT.sub("", image.stem)) for image, mask in pairing.matched
    ]
    pairs += [ImagePair(path, None, True, group=path.stem) for path in images_in(folder_in(root, "Authentic"))]
    return finished_set(facts, root, pairs, unpaired(pairing))


def _pair(images: Iterable[Path], masks: Iterable[Path]) -> Pairing:
    """Pair every edit with the mask of its photograph."""
    by_stem = {mask.stem.casefold(): mask for mask in masks}
    matched, alone = [], []
    for image in images:
        stems = (f"{stem}_mask".casefold() for stem in (image.stem, _EDIT.sub("", image.stem)))
        mask = next((by_stem[stem] for stem in stems if stem in by_stem), None)
        if mask is None:
            alone.append(image)
        else:
            matched.append((image, mask))
    used = {mask for _, mask in matched}
    return Pairing(tuple(matched), tuple(alone), tuple(mask for mask in by_stem.values() if mask not in used))


def _loader(name: str, quality: int, *other_names: str) -> Loader:
    facts = _facts(name, quality, *other_names)
    return Loader(facts, partial(_load, facts=facts, quality=quality))


AUTO_SPLICE: Final = _loader("autosplice", 100, "AutoSplice_Dataset")
AUTO_SPLICE_90: Final = _loader("autosplice90", 90)
AUTO_SPLICE_75: Final = _loader("autosplice75", 75)
