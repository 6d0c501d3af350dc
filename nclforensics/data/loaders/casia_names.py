"""Names of both CASIA sets: how images and masks find each other although many were renamed.

A tampered image is called Sp_D_NRN_A_cha0029_art0068_0463 (v1) or Tp_D_NRN_M_N_nat00031_nat00013_11065 (v2): D for a
part of a different image (splice), S for the same image (copy-move), the two source images, and last the number of the
forgery. The owners misnamed many files; the masks of Pham et al. bear the corrected names, images in circulation the
one or the other. All known corrections keep the number and at least one source (checked on the 73 renamed images of v1
that github.com/YanLi8858/Image-Manipulation-Dataset lists). Numbers alone occur twice, in a splice and a copy-move.
So what does not pair by its whole name is paired by number and common source, if only one file fits.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import Anomaly
from nclforensics.data.loaders.pairing import Pairing, natural_key, pair_by_stem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NAME: Final = re.compile(
    r"(?P<set>sp|tp)_.*_(?P<first>[a-z]+\d+)_(?P<second>[a-z]+\d+)_(?P<number>\d+)(?:_gt\d?)?", re.IGNORECASE
)
_AUTHENTIC: Final = re.compile(r"au_(?P<category>[a-z]+)_(?P<number>\d+)", re.IGNORECASE)
_KINDS: Final = {"D": "splice", "S": "copy-move"}


def pair_casia(images: Iterable[Path], masks: Iterable[Path]) -> Pairing:
    """Pair by whole name first (x.jpg with x_gt.png, x_gt3.png or x.png), then what is left by number."""
    first = pair_by_stem(images, masks, lambda stem: (f"{stem}_gt", f"{stem}_gt3", stem))
    renamed = _same_number(first.images, first.masks)
    if not renamed:
        return first
    taken = {path for pair in renamed for path in pair}
    message = (
        f"{len(renamed)} images bear other names than their masks (original and corrected names) and were paired "
        f"by their numbers, such as {renamed[0][0].name} with {renamed[0][1].name}."
    )
    return Pairing(
        matched=tuple(sorted([*first.matched, *renamed], key=lambda pair: natural_key(pair[0]))),
        images=tuple(path for path in first.images if path not in taken),
        masks=tuple(path for path in first.masks if path not in taken),
        anomalies=(*first.anomalies, Anomaly("unreliable", "note", message)),
    )


def casia_kind(mask: Path) -> str:
    """Return "splice" or "copy-move" by the name of a mask, which is the corrected one; "" if it does not say."""
    fields = mask.stem.split("_")
    return _KINDS.get(fields[1].upper(), "") if len(fields) > 1 else ""


def casia_group(forgery: Path) -> str:
    """Return the photos that a forgery was made of, as `ImagePair.group` has them; "" if its name does not say."""
    name = _NAME.fullmatch(forgery.stem)
    return "" if name is None else "+".join(dict.fromkeys(_photo(name[source]) for source in ("first", "second")))


def casia_photo(authentic: Path) -> str:
    """Return the photo that an authentic image, such as Au_ani_00001.jpg, is, as forgeries name it; "" if unknown."""
    name = _AUTHENTIC.fullmatch(authentic.stem)
    return "" if name is None else _photo(name["category"] + name["number"])


def _photo(source: str) -> str:
    """Return "ani1" for Ani0001 and ani00001: the number of zeros is not always that of the authentic image."""
    category = source.lower().rstrip("0123456789")
    return f"{category}{int(source[len(category) :])}"


def _same_number(images: Iterable[Path], masks: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pair files of one set and number that share a source; what fits several files fits none."""
    numbered: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for mask in masks:
        numbered[_number(mask)].append(mask)
    fitting = {image: [mask for mask in numbered[_number(image)] if _share_source(image, mask)] for image in images}
    claims = Counter(mask for found in fitting.values() for mask in found)
    return [(image, found[0]) for image, found in fitting.items() if len(found) == 1 and claims[found[0]] == 1]


def _number(path: Path) -> tuple[str, str]:
    name = _NAME.fullmatch(path.stem)
    return ("", "") if name is None else (name["set"].lower(), name["number"])


def _share_source(image: Path, mask: Path) -> bool:
    names = [_NAME.fullmatch(path.stem) for path in (image, mask)]
    sources = [{name["first"].lower(), name["second"].lower()} for name in names if name is not None]
    return len(sources) == len(names) and bool(sources[0] & sources[1])
