"""Loaders of published benchmarks: one file each, and the list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nclforensics.data.loaders.autosplice import AUTO_SPLICE, AUTO_SPLICE_75, AUTO_SPLICE_90
from nclforensics.data.loaders.casia_v1 import CASIA_V1, CASIA_V1_PLUS
from nclforensics.data.loaders.casia_v2 import CASIA_V2
from nclforensics.data.loaders.cocoglide import COCO_GLIDE
from nclforensics.data.loaders.columbia import COLUMBIA
from nclforensics.data.loaders.coverage import COVERAGE
from nclforensics.data.loaders.defacto import DEFACTO, DEFACTO_12K
from nclforensics.data.loaders.dso1 import DSO_1
from nclforensics.data.loaders.imd2020 import IMD2020
from nclforensics.data.loaders.korus import KORUS
from nclforensics.data.loaders.nist16 import NIST16
from nclforensics.data.loaders.osn import OSN

if TYPE_CHECKING:
    from nclforensics.data.loaded_set import Loader

LOADERS: Final[dict[str, Loader]] = {
    "autosplice": AUTO_SPLICE,
    "autosplice90": AUTO_SPLICE_90,
    "autosplice75": AUTO_SPLICE_75,
    "casiav1": CASIA_V1,
    "casiav1plus": CASIA_V1_PLUS,
    "casiav2": CASIA_V2,
    "cocoglide": COCO_GLIDE,
    "columbia": COLUMBIA,
    "coverage": COVERAGE,
    "defacto": DEFACTO,
    "defacto12k": DEFACTO_12K,
    "dso-1": DSO_1,
    "imd2020": IMD2020,
    "korus": KORUS,
    "nist16": NIST16,
    **OSN,
}


def loader_named(name: str) -> Loader | None:
    """Return the loader of a benchmark by its name or an alias, None if there is none.

    Upper and lower case are the same, and so are names with and without spaces, dots, hyphens and underscores.
    """
    wanted = _plain(name)
    for loader in LOADERS.values():
        if wanted in {_plain(known) for known in (loader.facts.name, loader.facts.title, *loader.facts.aliases)}:
            return loader
    return None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter == "+")
