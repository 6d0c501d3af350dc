"""Forgeries after a social network: DSO-1, Columbia, NIST16 and CASIA v1, uploaded and downloaded again by Wu et al.

Facebook, WhatsApp, Weibo and WeChat recompress, and shrink large images, so masks have the original size: they are
scaled to the image by whoever reads both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from nclforensics.data.loaded_set import BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.casia_names import casia_group, casia_kind, pair_casia
from nclforensics.data.loaders.casia_v1 import CASIA_V1
from nclforensics.data.loaders.columbia import COLUMBIA
from nclforensics.data.loaders.dso1 import DSO_1
from nclforensics.data.loaders.nist16 import NIST16, UNKNOWN_BASES
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    images_in,
    pair_by_stem,
    unknown_layout,
    unpaired,
)
from nclforensics.data.loaders.polarity import with_polarity
from nclforensics.data.manifest import ImagePair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nclforensics.data.loaded_set import Anomaly
    from nclforensics.data.loaders.pairing import Pairing

_NETWORKS: Final = ("Facebook", "Whatsapp", "Weibo", "Wechat")
_SUBFOLDERS: Final = ("Sp", "CM", "Tp")  # CASIA keeps its two kinds apart


@dataclass(frozen=True)
class _Uploaded:
    """One of the sets that were uploaded.

    Attributes:
        original: Its loader.
        names: What its folders are called before the network's name, the authors' first.
        kind: Kind of its forgeries; "" if there are several: those of CASIA are told from the names.
    """

    original: Loader
    names: tuple[str, ...]
    kind: str = ""


_SETS: Final = (
    _Uploaded(DSO_1, ("DSO", "DSO-1", "DSO1"), "splice"),
    _Uploaded(COLUMBIA, ("Columbia",), "splice"),
    _Uploaded(NIST16, ("NIST", "NIST16")),
    _Uploaded(CASIA_V1, ("CASIA", "CASIAv1", "CASIA1")),
)


def _facts(uploaded: _Uploaded, network: str) -> BenchmarkFacts:
    original, folder = uploaded.original.facts, uploaded.names[0]
    return BenchmarkFacts(
        name=f"{original.name}_{network.lower()}",
        title=f"{original.title} through {network}",
        aliases=tuple(f"{name}_{network}" for name in uploaded.names),
        tampered=original.tampered,
        authentic=0,
        tree=f"""\
{folder}_{network}/NAME.jpg                                     tampered images with the names of the original set
{folder}_{network}/{folder}_GT/NAME_gt.png                            masks
also: images in Sp and CM; without masks, with {original.title} in a folder of its name beside this one""",
        mask_rule="of the original set; masks of their own are white = tampered, inverted ones are recognized by their "
        "median share",
        publisher="Wu et al., IEEE TIFS 2022: https://github.com/HighwayWu/ImageForensicsOSN",
        terms=f"of the downloads: not stated; of {original.title}: {original.terms}",
        caveats=(
            "The number expected is that of the original set; how many images were uploaded is not stated.",
            "There are no authentic images, so false positives cannot be measured here.",
            f"What is said of {original.title} holds for these copies too.",
        ),
    )


def _load(root: Path, *, uploaded: _Uploaded, facts: BenchmarkFacts) -> LoadedSet:
    """Read the folder of one set and network, or find it in the folder of all of them."""
    folder = folder_in(root, *facts.aliases) or root
    images = images_in(folder, *(folder_in(folder, name) for name in _SUBFOLDERS)) if folder.is_dir() else []
    if not images:
        raise unknown_layout(facts, root, f"folder {facts.aliases[0]} of images")
    masks = _own_masks(folder, uploaded)
    original = None if masks is not None else _original_near(folder, uploaded.original)
    if masks is not None:
        pairs, anomalies = _with_masks(images, masks, uploaded)
        indivisible = UNKNOWN_BASES if uploaded.original is NIST16 else ""
    elif original is not None:
        pairs, anomalies = _with_original(images, original, uploaded)
        indivisible = original.indivisible
    else:
        wanted = f"masks: neither {uploaded.names[0]}_GT in {folder}, nor {uploaded.original.facts.title} beside it"
        raise unknown_layout(facts, root, wanted)
    return replace(finished_set(facts, root, pairs, anomalies), indivisible=indivisible)


def _own_masks(folder: Path, uploaded: _Uploaded) -> Path | None:
    """Find the masks in a folder of re-uploads, beside it, or in that of the same set and another network."""
    wanted = tuple(f"{name}_GT" for name in uploaded.names)
    others = tuple(f"{name}_{network}/{mask}" for name in uploaded.names for network in _NETWORKS for mask in wanted)
    return folder_in(folder, *wanted, "Gt", "mask", "masks") or folder_in(folder.parent, *wanted, *others)


def _original_near(folder: Path, original: Loader) -> LoadedSet | None:
    """Read the original set from a folder of its name beside a folder of re-uploads, or one level up."""
    names = (original.facts.name, original.facts.title, *original.facts.aliases)
    found = folder_in(folder.parent, *names) or folder_in(folder.parent.parent, *names)
    return None if found is None else original.load(found)


def _with_masks(images: Iterable[Path], masks: Path, uploaded: _Uploaded) -> tuple[list[ImagePair], list[Anomaly]]:
    """Pair images with masks of their names; edge masks of Columbia keep their colour rule."""
    files = images_in(masks, *(folder_in(masks, name) for name in _SUBFOLDERS))
    pairing = _paired(images, files, uploaded)
    casia = uploaded.original is CASIA_V1
    pairs = [
        ImagePair(image, mask, authentic=False, kind=_kind(mask, uploaded), group=casia_group(mask) if casia else "")
        for image, mask in pairing.matched
    ]
    if any(mask.stem.lower().endswith("_edgemask") for mask in files):
        return [replace(pair, mask_rule="green-over-red") for pair in pairs], unpaired(pairing)
    ruled, polarity = with_polarity(pairs, published="bright", otherwise="dark")
    return ruled, [*unpaired(pairing), *polarity]


def _with_original(
    images: Iterable[Path], original: LoadedSet, uploaded: _Uploaded
) -> tuple[list[ImagePair], list[Anomaly]]:
    """Give every image the mask, rule, kind and group of the original image of its name."""
    # CASIA's images circulate under two names, its masks under one.
    by_mask = uploaded.original is CASIA_V1
    sources = {
        pair.mask if by_mask and pair.mask else pair.image: pair for pair in original.pairs if not pair.authentic
    }
    pairing = _paired(images, sources, uploaded)
    pairs = [replace(sources[source], image=image) for image, source in pairing.matched]
    # Which images were uploaded is not known: an original without a copy is no fault, the count tells.
    return pairs, unpaired(replace(pairing, masks=()))


def _paired(images: Iterable[Path], others: Iterable[Path], uploaded: _Uploaded) -> Pairing:
    if uploaded.original is CASIA_V1:
        return pair_casia(images, others)
    return pair_by_stem(images, others, lambda stem: (f"{stem}_gt", stem, f"{stem}_mask", f"{stem}_edgemask"))


def _kind(mask: Path, uploaded: _Uploaded) -> str:
    return casia_kind(mask) if uploaded.original is CASIA_V1 else uploaded.kind


def _loader(uploaded: _Uploaded, network: str) -> Loader:
    facts = _facts(uploaded, network)
    return Loader(facts, partial(_load, uploaded=uploaded, facts=facts))


OSN: Final = {
    loader.facts.name: loader for uploaded in _SETS for network in _NETWORKS for loader in [_loader(uploaded, network)]
}
