"""IMD2020, its part of real-life manipulations from the internet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import (
    Pairing,
    finished_set,
    folder_in,
    folders_in,
    images_in,
    pair_by_stem,
    sizes_differ,
    unknown_layout,
    unpaired,
)
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Its published mask has another size: github.com/SunnyHaze/IML-Dataset-Corrections, 2.4.
_MISMATCHED: Final = "00030_fake"
_ITS_FOLDER: Final = "z14"

_FACTS: Final = BenchmarkFacts(
    name="imd2020",
    title="IMD2020",
    aliases=("imd", "imd20", "IMD2020_wild", "IMD2020 real-life"),
    tampered=2010,
    authentic=414,
    tree="""\
1a1ogs/1a1ogs_orig.jpg                                        414 folders, an original in each
1a1ogs/c8tf5mq_0.png                                          2,010 manipulations in all, JPEG and PNG
1a1ogs/c8tf5mq_0_mask.png                                     their masks
also: all below a folder IMD2020; Tp, Gt, Au (IMDL-BenCo) with masks named x.png, x_mask.png or x_gt.png""",
    mask_rule="above 0 = tampered",
    publisher="Institute of Information Theory and Automation, Czech Academy of Sciences: "
    "http://staff.utia.cas.cz/novozada/db/",
    terms="not stated; cite Novozamsky, Mahdian and Saic, WACV workshops 2020",
    caveats=(
        "Not to be confused with the 35,000 synthetic inpaintings of the same name.",
        "CAT-Net's lists hold 1,868 or 1,869 of these images: figures from them are about another set.",
    ),
)


def _load(root: Path) -> LoadedSet:
    """Read the folders, or the layout of IMDL-BenCo; names repeat across folders, so each is paired for itself."""
    images, masks = folder_in(root, "Tp"), folder_in(root, "Gt")
    if images is not None and masks is not None:
        pairing = _paired(images_in(images), images_in(masks))
        merged = _finished(root, [pairing], images_in(folder_in(root, "Au")))
        return replace(merged, indivisible="which manipulations share an original is unknown in this layout")
    folders = _folders_with_originals(root)
    if not folders:
        raise unknown_layout(_FACTS, root, "folder with an image named <id>_orig, nor the folders Tp and Gt")
    pairings, originals = [], []
    for folder in folders:
        files = images_in(folder)
        originals += [path for path in files if _is_original(path)]
        fakes = [path for path in files if not _is_original(path) and "_mask" not in path.stem.lower()]
        pairings.append(_paired(fakes, [path for path in files if "_mask" in path.stem.lower()]))
    return _finished(root, pairings, originals)


def _finished(root: Path, pairings: list[Pairing], originals: list[Path]) -> LoadedSet:
    merged = Pairing(
        matched=tuple(pair for pairing in pairings for pair in pairing.matched),
        images=tuple(path for pairing in pairings for path in pairing.images),
        masks=tuple(path for pairing in pairings for path in pairing.masks),
        anomalies=tuple(anomaly for pairing in pairings for anomaly in pairing.anomalies),
    )
    bad = [(image, mask) for image, mask in merged.matched if _is_mismatched(image, mask)]
    pairs = [
        ImagePair(image, mask, authentic=False, mask_rule=_mask_rule(mask), group=_group(image))
        for image, mask in merged.matched
        if (image, mask) not in bad
    ]
    pairs += [ImagePair(path, None, authentic=True, group=_group(path)) for path in originals]
    reason = "Its published mask has another size; a corrected one exists."
    anomalies = [Anomaly("known-bad", "note", reason, image) for image, _ in bad]
    return finished_set(_FACTS, root, pairs, anomalies + unpaired(merged), left_out=[mask for _, mask in bad])


def _paired(images: Iterable[Path], masks: Iterable[Path]) -> Pairing:
    return pair_by_stem(images, masks, lambda stem: (f"{stem}_mask", stem, f"{stem}_gt"))


def _folders_with_originals(root: Path) -> list[Path]:
    """Return the folders below the root, or below its only folder, if one of them holds an original."""
    folders = folders_in(root)
    if len(folders) == 1 and not images_in(folders[0]):
        folders = folders_in(folders[0])
    return folders if any(_is_original(path) for folder in folders for path in images_in(folder)) else []


def _is_original(path: Path) -> bool:
    return "_orig" in path.stem.lower()


def _is_mismatched(image: Path, mask: Path) -> bool:
    named = image.stem.lower() == _MISMATCHED and _group(image) in {_ITS_FOLDER, ""}
    return named and sizes_differ(image, mask)


def _mask_rule(mask: Path) -> str:
    """Return the set's rule, or the middle for a mask that somebody saved as JPEG: its black is not 0 everywhere."""
    return "bright" if mask.suffix.lower() in (".jpg", ".jpeg") else "above-zero"


def _group(path: Path) -> str:
    """Return the folder that holds an original with its manipulations; "" where folders were merged."""
    return "" if path.parent.name.lower() in {"tp", "au"} else path.parent.name


IMD2020: Final = Loader(_FACTS, _load)
