"""`nclf data check`: everything that a user should know about a data set before training on it or quoting from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics import __version__
from nclforensics.data.ground_truth import MASK_RULES, read_ground_truth
from nclforensics.data.images import read_image
from nclforensics.errors import DatasetError, MissingInputError, UnreadableImageError
from nclforensics.pipelines.dataset_check import inspect_pairs
from nclforensics.reports.contact_sheet import SheetEntry, reduced, render_contact_sheet
from nclforensics.reports.dataset_document import (
    SCHEMA_VERSION,
    AlignmentRow,
    AnomalyRow,
    DatasetReport,
    SetCounts,
    ShareRow,
    without_root,
)
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.loaded_set import Anomaly, LoadedSet
    from nclforensics.data.manifest import ImagePair
    from nclforensics.pipelines.dataset_check import CheckedSet

SHEET_ENTRIES: Final = 24
_SEVERITIES: Final = ("error", "warning", "note")
# Pairs with these have a mask of another shape: laid over the image it would show nothing true.
_UNFIT: Final = frozenset({"transposed", "mismatched"})


def limited(loaded: LoadedSet, limit: int) -> LoadedSet:
    """Return a set with at most `limit` of its pairs, evenly chosen; 0 keeps all."""
    total = len(loaded.pairs)
    if not 0 < limit < total:
        return loaded
    return replace(loaded, pairs=tuple(loaded.pairs[k * total // limit] for k in range(limit)))


def check_dataset(
    loaded: LoadedSet, *, limit: int = 0, progress: Callable[[], None] | None = None
) -> tuple[DatasetReport, CheckedSet]:
    """Inspect a data set.

    Args:
        loaded: As `nclforensics.data.sets.load_set` returns it.
        limit: Look at so many pairs, evenly chosen; 0 means all.
        progress: Called for each pair.

    Returns:
        The report, and what of the pairs looked at can be used.
    """
    part = limited(loaded, limit)
    checked = inspect_pairs(part.pairs, progress=progress)
    anomalies = sorted((*loaded.anomalies, *checked.anomalies), key=lambda each: _SEVERITIES.index(each.severity))
    rules = {pair.mask_rule for pair in part.pairs if not pair.authentic}
    report = DatasetReport(
        schema_version=SCHEMA_VERSION,
        tool="nclforensics",
        tool_version=__version__,
        name=loaded.name,
        title=loaded.facts.title if loaded.facts else None,
        root=str(loaded.root),
        mask_rules=tuple(f"{name}: tampered where {MASK_RULES[name].meaning}" for name in sorted(rules)),
        counts=_counts(loaded, checked, unchecked=len(loaded.pairs) - len(part.pairs)),
        tampered_share=_shares(checked),
        alignment=_alignment(checked),
        anomalies=tuple(
            AnomalyRow(each.kind, each.severity, each.message, None if each.path is None else str(each.path))
            for each in anomalies
        ),
        caveats=loaded.facts.caveats if loaded.facts else (),
        usable=not any(each.severity == "error" for each in anomalies),
    )
    return report, checked


def draw_contact_sheet(loaded: LoadedSet, checked: CheckedSet, *, entries: int = SHEET_ENTRIES) -> bytes | None:
    """Draw pairs of a set: first those that something is odd about, each kind in turn, then others, evenly chosen.

    Args:
        loaded: The set.
        checked: What `check_dataset` returned for it.
        entries: How many pairs are shown; odd ones take half of them at most, unless there are no others.

    Returns:
        A PNG file; None if the set has no tampered pair and nothing odd to show.
    """
    looked_at = {pair.image: pair for pair in (*checked.usable, *(pair for pair, _ in checked.skipped))}
    odd = _worst_first((*loaded.anomalies, *checked.anomalies), looked_at)
    plain = [pair for pair in checked.usable if not pair.authentic and pair.image not in odd]
    room = max(entries // 2, entries - len(plain))
    chosen = list(odd.items())[:room]
    count = min(entries - len(chosen), len(plain))
    shares = dict(zip((pair.image for pair in checked.usable), checked.shares, strict=True))
    shown = [_entry(looked_at[path], found, shares.get(path), root=loaded.root) for path, found in chosen]
    sample = [plain[k * len(plain) // count] for k in range(count)]
    shown += [_entry(pair, None, shares.get(pair.image), root=loaded.root) for pair in sample]
    if not shown:
        return None
    title = loaded.facts.title if loaded.facts else loaded.folder.absolute().name
    tampered = sum(not pair.authentic for pair in checked.usable)
    odd_text = f", {len(chosen)} of {len(odd)} odd ones first" if odd else ""
    return render_contact_sheet(
        shown, title=f"{printable(title)}: {len(shown)} of {tampered} tampered images{odd_text}"
    )


def _counts(loaded: LoadedSet, checked: CheckedSet, *, unchecked: int) -> SetCounts:
    labels = Counter(pair.authentic for pair in checked.usable)
    kinds = Counter(pair.kind for pair in checked.usable if pair.kind and not pair.authentic)
    return SetCounts(
        tampered=labels[False],
        authentic=labels[True],
        expected_tampered=loaded.facts.tampered if loaded.facts else None,
        expected_authentic=loaded.facts.authentic if loaded.facts else None,
        left_out=len(checked.skipped),
        resized=checked.resized,
        unchecked=unchecked,
        kinds=dict(sorted(kinds.items())),
    )


def _shares(checked: CheckedSet) -> ShareRow | None:
    pairs = zip(checked.usable, checked.shares, strict=True)
    shares = [share for pair, share in pairs if not pair.authentic]
    return ShareRow(min(shares), median(shares), max(shares)) if shares else None


def _alignment(checked: CheckedSet) -> AlignmentRow:
    alignment = checked.alignment
    return AlignmentRow(
        verdict=alignment.verdict,
        images=alignment.images,
        shift_right=alignment.shift[0],
        shift_down=alignment.shift[1],
        height=alignment.height,
        rest=alignment.rest,
        near_zero=alignment.near_zero,
        centred=alignment.centred,
    )


def _worst_first(anomalies: Iterable[Anomaly], pairs: dict[Path, ImagePair]) -> dict[Path, Anomaly]:
    """Return the images that an anomaly is about: by severity, and within one, one of each kind in turn."""
    rounds: Counter[tuple[str, str]] = Counter()
    ranked = []
    for each in anomalies:
        if each.path in pairs and each.severity != "note":
            key = (each.severity, each.kind)
            ranked.append((_SEVERITIES.index(each.severity), rounds[key], each))
            rounds[key] += 1
    ranked.sort(key=lambda item: item[:2])
    worst: dict[Path, Anomaly] = {}
    for _, _, each in ranked:
        assert each.path is not None
        worst.setdefault(each.path, each)
    return worst


def _entry(pair: ImagePair, anomaly: Anomaly | None, share: float | None, *, root: Path) -> SheetEntry:
    marked = "authentic" if pair.authentic else "" if share is None else f"{share:.1%} tampered"
    details = ", ".join(word for word in (pair.kind, marked) if word)
    remark = f"{anomaly.kind}: {anomaly.message}" if anomaly else details
    return SheetEntry(
        image=_image(pair),
        mask=_mask(pair),
        fits=anomaly is None or anomaly.kind not in _UNFIT,
        name=printable(pair.image.name),
        remark=printable(without_root(remark, str(root))),
        alarming=anomaly is not None,
    )


def _image(pair: ImagePair) -> NDArray[np.uint8] | None:
    try:
        return reduced(read_image(pair.image).pixels)
    except (UnreadableImageError, MissingInputError):
        return None


def _mask(pair: ImagePair) -> NDArray[np.bool_] | None:
    if pair.mask is None:
        return None
    try:
        mask = read_ground_truth(pair)
    except (UnreadableImageError, MissingInputError, DatasetError):
        return None
    return reduced(mask.astype(np.uint8) * 255) > 127  # noqa: PLR2004 - half of full scale
