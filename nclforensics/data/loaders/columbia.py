"""Columbia Uncompressed Image Splicing Detection Evaluation Dataset."""

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
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from pathlib import Path

_FACTS: Final = BenchmarkFacts(
    name="columbia",
    title="Columbia Uncompressed",
    aliases=("Columbia", "columbia_uncompressed", "ImSpliceDataset", "Columbia Uncompressed Image Splicing Detection"),
    tampered=180,
    authentic=183,
    tree="""\
4cam_splc/canong3_canonxt_sub_01.tif                          180 splices, TIFF, some BMP
4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.jpg        180 masks in red and green
4cam_auth/canong3_02_sub_01.tif                               183 authentic images
also: Tp, Gt, Au (IMDL-BenCo) with these masks, or with black and white ones named x.png, x_gt.png or x_mask.png""",
    mask_rule="masks named x_edgemask: green above red = tampered, whether bright (near the edge) or dark; others: "
    "white = tampered",
    publisher="DVMM Laboratory, Columbia University: http://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/",
    terms="see that page; the laboratory's older splicing set is for research only and not to be redistributed",
    caveats=("Easy and unstable: F1 of one method differed by 0.25 between trainings, so never quote this set alone.",),
)


def _load(root: Path) -> LoadedSet:
    """Read the set in any of its layouts; the colour rule is chosen by the name of each mask."""
    images = folder_in(root, "4cam_splc", "Tp")
    masks = folder_in(root, "4cam_splc/edgemask", "Gt", "edgemask", "mask")
    if images is None or masks is None:
        wanted = "folder 4cam_splc of splices" if images is None else "folder 4cam_splc/edgemask of masks"
        raise unknown_layout(_FACTS, root, wanted)
    pairing = pair_by_stem(
        images_in(images),
        images_in(masks),
        lambda stem: (f"{stem}_edgemask", stem, f"{stem}_gt", f"{stem}_mask"),
    )
    pairs = [
        ImagePair(image, mask, authentic=False, mask_rule=_rule(mask), kind="splice") for image, mask in pairing.matched
    ]
    authentic = images_in(folder_in(root, "4cam_auth", "Au"))
    pairs += [ImagePair(path, None, authentic=True) for path in authentic]
    return finished_set(_FACTS, root, pairs, unpaired(pairing))


def _rule(mask: Path) -> str:
    return "green-over-red" if mask.stem.lower().endswith("_edgemask") else "bright"


COLUMBIA: Final = Loader(_FACTS, _load)
