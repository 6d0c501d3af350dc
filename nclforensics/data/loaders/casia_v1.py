"""CASIA v1 (TIDE v1.0), and CASIA v1+, which replaces its authentic images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nclforensics.data.formats.mvss_list import mvss_pairs
from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.casia_names import casia_group, casia_kind, casia_photo, pair_casia
from nclforensics.data.loaders.pairing import finished_set, folder_in, images_in, unknown_layout, unpaired
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaders.pairing import Pairing

_PARENTS: Final = ("", "CASIA 1.0 dataset/", "CASIA1/", "CASIAv1/", "CASIA1.0/")
# The renamed images are preferred: they are those of the masks.
_TAMPERED: Final = ("Modified Tp/Tp", "Modified Tp", "Tp", "Original Tp/Tp", "Original Tp")
_MASKS: Final = ("CASIA 1.0 groundtruth", "casia1groundtruth-master/CASIA 1.0 groundtruth", "mask", "Gt", "Groundtruth")
_SUBFOLDERS: Final = ("Sp", "CM")
# The same image under both names; no mask was ever published for it.
_NO_MASK: Final = frozenset({"sp_d_nrn_a_cha0011_sec0011_0542", "sp_d_nrn_a_sce0011_cha0011_0542"})
_PLUS_LIST: Final = "CASIAv1plus.txt"
_PUBLISHER: Final = (
    "Institute of Automation, Chinese Academy of Sciences: http://forensics.idealtest.org (often unreachable); "
    "masks, and both namings of the images: https://github.com/namtpham/casia1groundtruth"
)
_TERMS: Final = (
    "research and teaching, no commercial use (the owners' licence); of the masks: not stated, cite Pham 2019"
)
_MASK_RULE: Final = "white = tampered: at least 128 of 255, as IMDL-BenCo reads them (CAT-Net: above 0)"
_LAYOUTS: Final = """\
Modified Tp/Tp/Sp/Sp_D_NNN_A_art0072_cha0060_0107.jpg         461 splices, some named .JPG
Modified Tp/Tp/CM/Sp_S_CND_A_pla0016_pla0016_0196.jpg         459 copy-moves
CASIA 1.0 groundtruth/{Sp,CM}/Sp_..._0107_gt.png              920 masks"""

_FACTS: Final = BenchmarkFacts(
    name="casiav1",
    title="CASIA v1",
    aliases=("casia1", "CASIA 1.0", "CASIA v1.0", "CASIA 1.0 dataset"),
    tampered=920,
    authentic=800,
    tree=f"""{_LAYOUTS}
Au/Au_ani_0001.jpg                                            800 authentic images
also: TP/{{Sp,CM}}, mask/{{Sp,CM}}, Au (MVSS-Net); Sp, Au (Kaggle); Tp, Gt, Au without sub-folders (IMDL-BenCo);
original names (Original Tp) in place of the corrected ones; all below a folder "CASIA 1.0 dataset", CASIA1, CASIAv1""",
    mask_rule=_MASK_RULE,
    publisher=_PUBLISHER,
    terms=_TERMS,
    caveats=(
        "After training on CASIA v2, whose authentic images overlap with these, use CASIA v1+ for false positives.",
    ),
)
_PLUS_FACTS: Final = BenchmarkFacts(
    name="casiav1plus",
    title="CASIA v1+",
    aliases=("casiav1+", "CASIA v1 plus"),
    tampered=920,
    authentic=800,
    tree=f"""{_LAYOUTS}
Au/Au_sec_0064.jpg                                            18 authentic images that CASIA v2 does not hold
corel-1k/training_set/flowers/640.jpg                         782 authentic images of Corel-1k, by the list
CASIAv1plus.txt                                               the list of MVSS-Net, paths relative to its folder
the CASIA v1 part in any layout of CASIA v1""",
    mask_rule=_MASK_RULE,
    publisher=f"list: https://github.com/dong03/MVSS-Net, folder data; images: Corel-1k, and {_PUBLISHER}",
    terms=f"of the list and of Corel-1k: not stated; CASIA v1: {_TERMS}",
)


def _load_v1(root: Path) -> LoadedSet:
    """Read CASIA v1 in any of its layouts."""
    pairs, anomalies = _tampered(_FACTS, root)
    authentic = [path for path in images_in(_folder(root, ("Au",))) if path.name.lower().startswith("au_")]
    pairs += [ImagePair(path, None, authentic=True, group=casia_photo(path)) for path in authentic]
    return finished_set(_FACTS, root, pairs, anomalies)


def _load_v1_plus(root: Path) -> LoadedSet:
    """Read the tampered images of CASIA v1, and the authentic ones that the list of MVSS-Net names."""
    index = root / _PLUS_LIST
    if not index.is_file():
        raise DatasetError(
            f"Expected the list {_PLUS_LIST} of MVSS-Net in {root}: it names the authentic images. Found none."
        )
    pairs, anomalies = _tampered(_PLUS_FACTS, root)
    named = dict.fromkeys(pair.image for pair in mvss_pairs(index) if pair.authentic)
    authentic = [_placed(path, root) for path in named]
    pairs += [ImagePair(path, None, authentic=True, group=casia_photo(path)) for path in authentic if path.is_file()]
    message = f"{_PLUS_LIST} names it as authentic, but it is missing."
    anomalies += [Anomaly("count", "warning", message, path) for path in authentic if not path.is_file()]
    # The other images of Au and of Corel-1k do not belong to the set.
    others = images_in(*{path.parent for path in authentic if path.is_file()})
    return finished_set(_PLUS_FACTS, root, pairs, anomalies, left_out=others)


def _placed(path: Path, root: Path) -> Path:
    """Return where a listed image is: the list has CASIA v1 in CASIAv1/Au, wherever this copy has its folder Au."""
    folder = None if path.is_file() or path.parent.name != "Au" else _folder(root, ("Au",))
    return path if folder is None else folder / path.name


def _tampered(facts: BenchmarkFacts, root: Path) -> tuple[list[ImagePair], list[Anomaly]]:
    # The Kaggle copy has all forgeries in Sp, without Tp above it.
    images, masks = _folder(root, (*_TAMPERED, "Sp")), _folder(root, _MASKS)
    if images is None or masks is None:
        wanted = "tampered images (Tp, Modified Tp or Sp)" if images is None else f"masks ({', '.join(_MASKS)})"
        raise unknown_layout(facts, root, f"folder of {wanted}")
    named = [path for path in _flat(images) if path.name.lower().startswith("sp_")]
    return _usable(pair_casia(named, _flat(masks)))


def _usable(pairing: Pairing) -> tuple[list[ImagePair], list[Anomaly]]:
    """Leave out the image that never had a mask."""
    reason = "No mask was ever published for it."
    bad = [path for path in pairing.images if path.stem.lower() in _NO_MASK]
    anomalies = [Anomaly("known-bad", "note", reason, path) for path in bad]
    anomalies += unpaired(replace(pairing, images=tuple(path for path in pairing.images if path not in bad)))
    pairs = [
        ImagePair(image, mask, authentic=False, kind=casia_kind(mask), group=casia_group(mask))
        for image, mask in pairing.matched
    ]
    return pairs, anomalies


def _folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return folder_in(root, *(parent + name for name in names for parent in _PARENTS))


def _flat(folder: Path) -> list[Path]:
    return images_in(folder, *(folder_in(folder, name) for name in _SUBFOLDERS))


CASIA_V1: Final = Loader(_FACTS, _load_v1)
CASIA_V1_PLUS: Final = Loader(_PLUS_FACTS, _load_v1_plus)
