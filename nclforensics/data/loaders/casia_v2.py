"""CASIA v2 (TIDE v2.0), with the original masks or the corrected ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.casia_names import casia_group, casia_kind, casia_photo, pair_casia
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    images_in,
    sizes_differ,
    unknown_layout,
    unpaired,
)
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaders.pairing import Pairing

_PARENTS: Final = ("", "CASIA2/", "CASIA 2.0/", "CASIA2.0_revised/", "CASIAv2/", "CASIA2.0/")
# The corrected masks are called Gt; where both lie side by side they are preferred.
_MASKS: Final = (
    "Gt",
    "CASIA 2 Groundtruth",
    "CASIA2.0_Groundtruth",
    "casia2groundtruth-master/CASIA 2 Groundtruth",
    "casia2groundtruth/CASIA 2 Groundtruth",
    "Groundtruth",
    "mask",
)
# Images whose original masks have another size or are turned: github.com/SunnyHaze/IML-Dataset-Corrections, 2.2.
_MISMATCHED: Final = frozenset(
    {
        "tp_d_cnn_m_n_sec00011_cha00085_11227",
        "tp_d_crn_s_n_ani10191_ani10190_12437",
        "tp_d_crn_s_n_nat10130_pla00049_11524",
        "tp_d_nnd_m_b_nat20098_nat20073_01602",
        "tp_d_nrn_m_n_nat10134_nat00095_11912",
        "tp_d_nrn_m_n_nat10134_nat10124_11913",
        "tp_s_crn_s_n_art00059_art00059_10508",
        "tp_s_nnd_s_n_sec20064_sec20064_01654",
        "tp_s_nnn_s_n_art20077_art20077_01883",
        "tp_s_nnn_s_n_ind20037_ind20037_01778",
        "tp_s_nnn_s_n_sec00012_sec00012_11230",
        "tp_s_nnn_s_n_sec00074_sec00074_00751",
        "tp_s_nrd_s_n_arc20079_arc20079_01719",
        "tp_s_nrd_s_n_pla20071_pla20071_01971",
        "tp_s_nrn_s_b_ind10002_ind10002_20010",
        "tp_s_nrn_s_n_art20077_art20077_02316",
        "tp_s_nrn_s_n_pla20080_pla20080_01980",
    }
)
# Left out by CAT-Net's loader, github.com/mjkwon2021/CAT-Net, and those that follow it.
_FAULTY: Final = frozenset({"tp_d_nrd_s_b_ani20002_nat20042_02437"})

_FACTS: Final = BenchmarkFacts(
    name="casiav2",
    title="CASIA v2",
    aliases=("casia", "casia2", "CASIA 2.0", "CASIA v2.0", "CASIA2.0_revised"),
    tampered=5123,
    authentic=7491,
    tree="""\
Tp/Tp_D_CRN_M_N_nat10139_nat10124_11946.jpg                   5,123 tampered images: 3,059 TIFF, 2,064 JPEG
Gt/Tp_D_CRN_M_N_nat10139_nat10124_11946_gt.png                5,123 masks
Au/Au_ani_00001.jpg                                           7,491 authentic images: 7,437 JPEG, 54 BMP
also: the masks in "CASIA 2 Groundtruth" or CASIA2.0_Groundtruth beside; Tp and Au below CASIA2, "CASIA 2.0",
CASIA2.0_revised or CASIAv2; images by their original names""",
    mask_rule="white = tampered: at least 128 of 255, as IMDL-BenCo reads them (CAT-Net: above 0)",
    publisher="Institute of Automation, Chinese Academy of Sciences: http://forensics.idealtest.org/casiav2 (often "
    "unreachable); original masks: https://github.com/namtpham/casia2groundtruth; corrected masks with the images: "
    "https://github.com/SunnyHaze/CASIA2.0-Corrected-Groundtruth",
    terms="research and teaching, no commercial use (the owners' licence); of the masks: not stated, cite Pham 2019",
    caveats=(
        "Only tampered images are TIFF and only authentic ones BMP: the file format gives the class of an image away.",
        "Its authentic images overlap with those of CASIA v1.",
        "Its masks come from image differences: small holes and specks are noise.",
    ),
)


def _load(root: Path) -> LoadedSet:
    """Read CASIA v2 in any of its layouts."""
    images, masks = _folder(root, ("Tp",)), _folder(root, _MASKS)
    if images is None or masks is None:
        wanted = "folder Tp of tampered images" if images is None else f"folder of masks ({', '.join(_MASKS)})"
        raise unknown_layout(_FACTS, root, wanted)
    named = [path for path in images_in(images) if path.name.lower().startswith("tp_")]
    pairing = pair_casia(named, images_in(masks))
    bad = _known_bad(pairing)
    usable = [(image, mask) for image, mask in pairing.matched if image not in bad]
    pairs = [
        ImagePair(image, mask, authentic=False, kind=casia_kind(mask), group=casia_group(mask))
        for image, mask in usable
    ]
    authentic = [path for path in images_in(_folder(root, ("Au",))) if path.name.lower().startswith("au_")]
    pairs += [ImagePair(path, None, authentic=True, group=casia_photo(path)) for path in authentic]
    anomalies = [Anomaly("known-bad", "note", reason, path) for path, reason in bad.items()]
    anomalies += unpaired(replace(pairing, images=tuple(path for path in pairing.images if path not in bad)))
    unused = [mask for image, mask in pairing.matched if image in bad]
    return finished_set(_FACTS, root, pairs, anomalies + _format_shortcut(pairs), left_out=unused)


def _folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return folder_in(root, *(parent + name for name in names for parent in _PARENTS))


def _known_bad(pairing: Pairing) -> dict[Path, str]:
    """Return the images to leave out, with the reason; the mismatched ones only where the mask was not corrected."""
    bad = dict.fromkeys(_faulty(pairing), "Known to be faulty; CAT-Net's loader leaves it out as well.")
    for image, mask in pairing.matched:
        if mask.stem.lower().removesuffix("_gt") in _MISMATCHED and sizes_differ(image, mask):
            bad[image] = "Its original mask has another size or is turned; the corrected masks cure that."
    return bad


def _faulty(pairing: Pairing) -> list[Path]:
    images = [*pairing.images, *(image for image, _ in pairing.matched)]
    return [path for path in images if path.stem.lower() in _FAULTY]


def _format_shortcut(pairs: list[ImagePair]) -> list[Anomaly]:
    """Warn if a file format occurs in one class only, counted in this copy, since a model would learn the format."""
    tampered = [pair.image.suffix.lower() for pair in pairs if not pair.authentic]
    authentic = [pair.image.suffix.lower() for pair in pairs if pair.authentic]
    found = []
    for mine, others, kind in ((tampered, authentic, "tampered"), (authentic, tampered, "authentic")):
        found += [
            f"all {mine.count(suffix)} {suffix} files are {kind}"
            for suffix in sorted(set(mine))
            if suffix not in others
        ]
    if not found or not authentic:
        return []
    message = f"The file format gives the class away: {', '.join(found)}. Do not quote figures for whole images."
    return [Anomaly("unreliable", "warning", message)]


CASIA_V2: Final = Loader(_FACTS, _load)
