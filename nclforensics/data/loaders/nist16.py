"""NIST16, the Nimble Challenge 2016 data set NC2016_Test0613."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Final

from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts, LoadedSet, Loader
from nclforensics.data.loaders.pairing import (
    finished_set,
    folder_in,
    images_in,
    lost_in_bulk,
    pair_by_stem,
    unknown_layout,
    unpaired,
)
from nclforensics.data.loaders.polarity import with_polarity
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError

_CSV_FOLDER: Final = "reference/manipulation"
_CSV_NAME: Final = "NC2016-manipulation-ref.csv"
UNKNOWN_BASES: Final = f"the base images, of which its images share few, are unknown without {_CSV_NAME}"
_COLUMNS: Final = ("ProbeFileName", "ProbeMaskFileName", "IsTarget", "BaseFileName")
_KIND_COLUMNS: Final = {
    "IsManipulationTypeSplice": "splice",
    "IsManipulationTypeCopyClone": "copy-move",
    "IsManipulationTypeRemoval": "removal",
}
_KIND_ENDINGS: Final = {"splice": "splice", "copyclone": "copy-move", "removal": "removal", "remove": "removal"}
_PUBLISHED, _CONVERTED = "dark-180", "bright"

_FACTS: Final = BenchmarkFacts(
    name="nist16",
    title="NIST16 (NC2016_Test0613)",
    aliases=("nist", "nist2016", "nc2016", "NC2016_Test0613", "NIST16_test"),
    tampered=564,
    authentic=560,
    tree="""\
reference/manipulation/NC2016-manipulation-ref.csv            1,124 rows: which probe has which mask
reference/manipulation/mask/NC2016_....png                    282 masks, each of two probes
probe/NC2016_....jpg                                          564 tampered and 560 authentic images
also: probe_save, mask (MVSS-Net) or Tp, Gt, Au (IMDL-BenCo), masks named as their images, no authentic images""",
    mask_rule="black = tampered, below 180 of 255; copies with white = tampered are recognized by their median share",
    publisher="National Institute of Standards and Technology: "
    "https://www.nist.gov/itl/iad/mig/media-forensics-challenge",
    terms="on request from NIST",
    caveats=(
        "Split it by base image only: 564 tampered images come from 69 base images and share 282 masks.",
        "In the usual split of 404 and 160, every test image shares its base with a training image, 142 also the mask.",
        "Authentic images are the 560 probes that the CSV calls no target; IMDL-BenCo takes 874 of the folder world.",
    ),
)


def _load(root: Path) -> LoadedSet:
    """Read the set by its CSV, or a copy whose masks bear the names of their images."""
    index = _find_csv(root)
    if index is not None:
        return _load_csv(root, index)
    images, masks = folder_in(root, "probe_save", "Tp"), folder_in(root, "mask", "Gt")
    if images is None or masks is None:
        wanted = f"{_CSV_FOLDER}/{_CSV_NAME} (masks cannot be found without it), nor probe_save and mask, nor Tp and Gt"
        raise unknown_layout(_FACTS, root, wanted)
    return _load_by_name(root, images, masks)


def _find_csv(root: Path) -> Path | None:
    folder = folder_in(root, _CSV_FOLDER)
    files = [] if folder is None else list(folder.iterdir())
    return next((path for path in files if path.name.lower() == _CSV_NAME.lower()), None)


def _load_csv(root: Path, index: Path) -> LoadedSet:
    """Read the rows of the CSV; their paths are relative to the folder that holds the folder reference."""
    base = index.parent.parent.parent
    anomalies: list[Anomaly] = []
    pairs: dict[Path, ImagePair] = {}
    for row in _rows(index):
        pair = _pair_of_row(row, base)
        known = pairs.setdefault(pair.image, pair)
        if known != pair:
            message = f"{index.name} names it twice, with different masks or labels; the first row was taken."
            anomalies.append(Anomaly("duplicate", "error", message, pair.image))
    present = [pair for pair in pairs.values() if pair.image.is_file()]
    missing = [pair.image for pair in pairs.values() if not pair.image.is_file()]
    anomalies += [Anomaly("count", "warning", f"{index.name} names it, but it is missing.", path) for path in missing]
    bare = [pair for pair in present if not pair.authentic and not (pair.mask and pair.mask.is_file())]
    message = f"The mask that {index.name} names is missing."
    anomalies += [Anomaly("unpaired-image", "warning", message, pair.image) for pair in bare]
    gone = sum(not pair.authentic and not pair.image.is_file() for pair in pairs.values())
    tampered = sum(not pair.authentic for pair in pairs.values())
    anomalies += lost_in_bulk(len(bare) + gone, tampered, f"that {index.name} names are missing, or their masks are")
    usable = [pair for pair in present if pair not in bare]
    ruled, polarity = with_polarity(usable, published=_PUBLISHED, otherwise=_CONVERTED)
    return finished_set(_FACTS, root, ruled, anomalies + polarity)


def _rows(index: Path) -> list[dict[str, str]]:
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="|", restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{index} is not a CSV file in UTF-8: {error}.") from error
    found = list(rows[0]) if rows else []
    missing = [name for name in _COLUMNS if name not in found]
    if missing:
        raise DatasetError(
            f'Expected columns separated by "|" in {index}, among them {", ".join(_COLUMNS)}; '
            f"{', '.join(missing)} not found."
        )
    return rows


def _pair_of_row(row: dict[str, str], base: Path) -> ImagePair:
    target = row["IsTarget"].strip().upper() == "Y"
    mask = row["ProbeMaskFileName"].strip()
    kinds = [kind for column, kind in _KIND_COLUMNS.items() if row.get(column, "").strip().upper() == "Y"]
    return ImagePair(
        image=base / row["ProbeFileName"].strip(),
        mask=base / mask if target and mask else None,
        authentic=not target,
        kind=kinds[0] if target and len(kinds) == 1 else "",
        # Two probes of one base image must not be divided between training and test.
        group=Path(row["BaseFileName"].strip()).stem,
    )


def _load_by_name(root: Path, images: Path, masks: Path) -> LoadedSet:
    pairing = pair_by_stem(images_in(images), images_in(masks), lambda stem: (stem, f"{stem}_gt", f"{stem}_mask"))
    pairs = [
        ImagePair(image, mask, authentic=False, kind=_KIND_ENDINGS.get(image.stem.lower().rsplit("_", 1)[-1], ""))
        for image, mask in pairing.matched
    ]
    ruled, polarity = with_polarity(pairs, published=_PUBLISHED, otherwise=_CONVERTED)
    ruled += [ImagePair(path, None, authentic=True) for path in images_in(folder_in(root, "Au"))]
    message = f"Use this copy for tests only, never split it: {UNKNOWN_BASES}."
    anomalies = [*unpaired(pairing), *polarity, Anomaly("unreliable", "warning", message)]
    return replace(finished_set(_FACTS, root, ruled, anomalies), indivisible=UNKNOWN_BASES)


NIST16: Final = Loader(_FACTS, _load)
