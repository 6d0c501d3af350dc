"""The Realistic Tampering Dataset of Pawel Korus: uncompressed photographs of four cameras, edited by hand."""

from __future__ import annotations

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
    from pathlib import Path

_CAMERAS: Final = ("Canon_60D", "Nikon_D7000", "Nikon_D90", "Sony_A57")
_PARENTS: Final = ("", "data-images/", "realistic-tampering-dataset/", "realistic-tampering-dataset/data-images/")

_FACTS: Final = BenchmarkFacts(
    name="korus",
    title="Realistic Tampering (Korus)",
    aliases=("realistic_tampering", "realistic-tampering-dataset", "rtd"),
    tampered=220,
    authentic=220,
    tree="""\
{Canon_60D,Nikon_D7000,Nikon_D90,Sony_A57}/
    tampered-realistic/DSC00012.TIF                           220 tampered images
    ground-truth/DSC00012.PNG                                 220 masks of three grey levels
    pristine/DSC00012.TIF                                     220 authentic images, the originals by the same names
also: below data-images, below realistic-tampering-dataset; images as WebP""",
    mask_rule="grey and white = tampered: above 10 of 255",
    publisher="Pawel Korus: https://pkorus.pl/downloads/dataset-realistic-tampering",
    terms="see that page; cite Korus and Huang, IEEE TIFS 2017 and WIFS 2016",
    caveats=("Every authentic image is the original of a tampered one: split by group only.",),
)


def _load(root: Path) -> LoadedSet:
    """Read all cameras that are there; their files are paired camera by camera."""
    pairs: list[ImagePair] = []
    anomalies: list[Anomaly] = []
    found = {camera: folder_in(root, *(parent + camera for parent in _PARENTS)) for camera in _CAMERAS}
    for camera, folder in found.items():
        if folder is None:
            anomalies.append(Anomaly("count", "warning", f"There is no folder {camera}, one of the four cameras."))
            continue
        camera_pairs, camera_anomalies = _camera(camera, folder)
        pairs += camera_pairs
        anomalies += camera_anomalies
    if not pairs:
        raise unknown_layout(_FACTS, root, f"images in folders of its cameras ({', '.join(_CAMERAS)})")
    return finished_set(_FACTS, root, pairs, anomalies)


def _camera(camera: str, folder: Path) -> tuple[list[ImagePair], list[Anomaly]]:
    images, masks = folder_in(folder, "tampered-realistic"), folder_in(folder, "ground-truth")
    pairing = pair_by_stem(images_in(images), images_in(masks), lambda stem: (stem,))
    pairs = [
        ImagePair(image, mask, authentic=False, mask_rule="above-10", group=f"{camera}/{image.stem}")
        for image, mask in pairing.matched
    ]
    authentic = images_in(folder_in(folder, "pristine"))
    pairs += [ImagePair(path, None, authentic=True, group=f"{camera}/{path.stem}") for path in authentic]
    return pairs, unpaired(pairing)


KORUS: Final = Loader(_FACTS, _load)
