"""COVERAGE: copy-moves that cover similar but genuine objects."""

from __future__ import annotations

import re
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
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"(\d+)(t?)", re.IGNORECASE)
# <N>copy and <N>paste mark the source and the target of the copy, not what was changed; they are never used.
_MASK: Final = re.compile(r"\d+(forged|t|t_gt|t_mask)", re.IGNORECASE)

_FACTS: Final = BenchmarkFacts(
    name="coverage",
    title="COVERAGE",
    aliases=("COVER", "cov"),
    tampered=100,
    authentic=100,
    tree="""\
image/1t.tif                                                  100 copy-moves
image/1.tif                                                   100 authentic images, of the same scenes
mask/1forged.tif                                              100 masks (1copy.tif and 1paste.tif are not used)
also: tampered, Au, mask (MVSS-Net); Tp, Gt, Au (IMDL-BenCo) with masks named 1forged, 1t, 1t_gt or 1t_mask""",
    mask_rule="<N>forged: white = tampered, at least 128 of 255",
    publisher="https://github.com/wenbihan/coverage",
    terms="non-commercial research only, cite Wen et al., ICIP 2016",
    caveats=(
        "Copies downloaded before 27 September 2017 have original and tampered images swapped; no check can see that.",
        "The published masks of 41, 48, 55, 56, 57, 58, 59, 61 and 95 have another size than their images.",
    ),
)


def _load(root: Path) -> LoadedSet:
    """Read the set in any of its layouts; 1t belongs to 1forged, and both to the scene of 1."""
    folders = [folder_in(root, *names) for names in (("image", "tampered", "Tp"), ("mask", "Gt"), ("Au",))]
    if folders[0] is None or folders[1] is None:
        wanted = "folder image, tampered or Tp" if folders[0] is None else "folder mask or Gt"
        raise unknown_layout(_FACTS, root, wanted)
    images = [path for path in images_in(folders[0], folders[2]) if _NAME.fullmatch(path.stem)]
    masks = [path for path in images_in(folders[1]) if _MASK.fullmatch(path.stem)]
    tampered = [path for path in images if path.stem.lower().endswith("t")]
    pairing = pair_by_stem(tampered, masks, lambda stem: (f"{stem[:-1]}forged", stem, f"{stem}_gt", f"{stem}_mask"))
    pairs = [
        ImagePair(image, mask, authentic=False, kind="copy-move", group=image.stem[:-1])
        for image, mask in pairing.matched
    ]
    authentic = [path for path in images if path not in tampered]
    pairs += [ImagePair(path, None, authentic=True, group=path.stem) for path in authentic]
    return finished_set(_FACTS, root, pairs, unpaired(pairing))


COVERAGE: Final = Loader(_FACTS, _load)
