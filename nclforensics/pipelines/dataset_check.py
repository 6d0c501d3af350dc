"""Faults of a data set that would spoil hours of work, found before the first image is analysed.

Every image's header and hash and every mask is looked at once, one after the other: what is kept of a pair is a few
numbers. What a rule finds is an `Anomaly`; one of severity "error" stops training and evaluation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.alignment import LEAST_HEIGHT, LEAST_NEAR, MAX_IMAGES, Alignment, AlignmentMeter
from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.images import image_size, read_image, sha256_of
from nclforensics.data.loaded_set import ANOMALIES, Anomaly
from nclforensics.errors import DatasetError, MissingInputError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.loaded_set import LoadedSet, Severity
    from nclforensics.data.manifest import ImagePair

ASPECT_TOLERANCE: Final = 0.01
# Beyond this the mask is of another picture, or of a crop: scaling it would only hide that.
MAX_ASPECT_DIFFERENCE: Final = 0.1
MAX_MEDIAN_SHARE: Final = 0.5
# Published sets hold a few masks that do not fit (CASIA v2: 17 of 5,123); many of them are a fault of the pairing.
MAX_MISFIT_SHARE: Final = 0.05
_MISSING_FILES: Final = frozenset({"unpaired-image", "unpaired-mask"})


@dataclass(frozen=True)
class CheckedSet:
    """What of a data set can be used, and everything that its pixels and bytes show to be odd.

    Attributes:
        usable: Pairs whose files are whole and fit each other, in the order of the set.
        skipped: Pairs left out, each with its reason.
        resized: Number of usable masks that need resizing to their image.
        anomalies: What was found, pair by pair, then about the whole set.
        shares: For each usable pair, the share of its pixels that are tampered.
        alignment: Whether the masks follow what the images show.
    """

    usable: tuple[ImagePair, ...]
    skipped: tuple[tuple[ImagePair, str], ...]
    resized: int
    anomalies: tuple[Anomaly, ...]
    shares: tuple[float, ...]
    alignment: Alignment


@dataclass
class _Look:
    """What one pair looks like; a fault leaves it out."""

    pair: ImagePair
    share: float | None = None
    resized: bool = False
    fault: str = ""
    anomalies: list[Anomaly] = field(default_factory=list)


def check_pairs(pairs: Sequence[ImagePair], *, progress: Callable[[], None] | None = None) -> CheckedSet:
    """Inspect a data set and stop at errors.

    Args:
        pairs: The data set.
        progress: Called for each pair.

    Raises:
        DatasetError: If `inspect_pairs` finds an anomaly of severity "error".
    """
    checked = inspect_pairs(pairs, progress=progress)
    stop_at_errors(checked.anomalies)
    return checked


def stop_at_errors(anomalies: Iterable[Anomaly], *, allow_missing: bool = False) -> None:
    """Raise the first of the errors among anomalies, and count the others.

    Args:
        anomalies: Of a `LoadedSet` or a `CheckedSet`.
        allow_missing: Whether images without mask and masks without image are no reason to stop; they stay left out.

    Raises:
        DatasetError: If there is an error.
    """
    passed = _MISSING_FILES if allow_missing else frozenset()
    errors = [each for each in anomalies if each.severity == "error" and each.kind not in passed]
    if not errors:
        return
    first = f"{errors[0].path}: {errors[0].message}" if errors[0].path else errors[0].message
    others = Counter(each.kind for each in errors[1:])
    more = f" {others.total()} more errors: {', '.join(f'{n} {kind}' for kind, n in others.items())}." if others else ""
    hint = " --allow-missing goes on without them." if {each.kind for each in errors} <= _MISSING_FILES else ""
    raise DatasetError(f"{first}{more}{hint} `nclf data check` lists everything.")


def warnings_of(loaded: LoadedSet, checked: CheckedSet) -> tuple[str, ...]:
    """Return what training and evaluation say about a set: its caveats, and warnings, those on single files counted."""
    caveats = loaded.facts.caveats if loaded.facts is not None else ()
    found = [each for each in (*loaded.anomalies, *checked.anomalies) if each.severity != "note"]
    whole = [each.message for each in found if each.path is None]
    single = Counter(each.kind for each in found if each.path is not None)
    counted = [f"{count} x {kind}: {ANOMALIES[kind]} (nclf data check lists them)." for kind, count in single.items()]
    return (*caveats, *whole, *counted)


def inspect_pairs(pairs: Sequence[ImagePair], *, progress: Callable[[], None] | None = None) -> CheckedSet:
    """Look at every mask and at every image's header and hash; decode up to 200 images to see whether masks fit them.

    Left out are files that cannot be read, tampered images whose mask is empty, and masks whose width and height are
    swapped or whose aspect ratio is another one by more than a tenth. A mask of another size is used nevertheless.

    Args:
        pairs: The data set.
        progress: Called for each pair.
    """
    meter, seen = AlignmentMeter(), _Seen({}, {})
    sampled = _sampled(pairs)
    looks = []
    for number, pair in enumerate(pairs):
        look = _look_at(pair, meter if number in sampled else None)
        look.anomalies += seen.twins_of(look)
        looks.append(look)
        if progress is not None:
            progress()
    alignment = meter.result()
    usable = [look for look in looks if not look.fault]
    return CheckedSet(
        usable=tuple(look.pair for look in usable),
        skipped=tuple((look.pair, look.fault) for look in looks if look.fault),
        resized=sum(look.resized for look in usable),
        anomalies=(*(each for look in looks for each in look.anomalies), *_about_all(looks, alignment)),
        shares=tuple(look.share or 0.0 for look in usable),
        alignment=alignment,
    )


def ground_truth_of_size(pair: ImagePair, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a pair's ground truth at (height, width), by nearest neighbour where its file has another size.

    An image without mask is authentic and gives an empty mask.
    """
    if pair.mask is None:
        return np.zeros(size, dtype=np.bool_)
    mask = read_ground_truth(pair)
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.bool_)


@dataclass
class _Seen:
    """The images so far, by file and by content."""

    files: dict[Path, Path]
    contents: dict[str, Path]

    def twins_of(self, look: _Look) -> list[Anomaly]:
        """Report the same file listed twice, or the same bytes under two names; broken files may be alike."""
        pair, file = look.pair, look.pair.image.resolve()
        if file in self.files:
            return [Anomaly("duplicate", "error", "The image is listed twice.", pair.image)]
        self.files[file] = pair.image
        if any(each.kind == "unreadable" for each in look.anomalies):
            return []
        first = self.contents.setdefault(sha256_of(pair.image), pair.image)
        if first is pair.image:
            return []
        return [Anomaly("duplicate", "warning", f"It holds the same bytes as {first}.", pair.image)]


def _sampled(pairs: Sequence[ImagePair]) -> frozenset[int]:
    """Choose pairs for the alignment, evenly over the set; what was removed need not leave an edge."""
    fitting = [n for n, pair in enumerate(pairs) if pair.mask and not pair.authentic and pair.kind != "removal"]
    step = max(1.0, len(fitting) / MAX_IMAGES)
    return frozenset(fitting[int(k * step)] for k in range(min(MAX_IMAGES, len(fitting))))


def _look_at(pair: ImagePair, meter: AlignmentMeter | None) -> _Look:
    try:
        size = image_size(pair.image)
        mask = read_ground_truth(pair) if pair.mask is not None else None
        look = _Look(pair) if mask is None else _fit(pair, size, mask)
        if meter is not None and mask is not None and not look.fault:
            meter.add(read_image(pair.image).pixels, mask)
    except (UnreadableImageError, MissingInputError) as error:
        return _left_out(pair, "unreadable", str(error))
    except DatasetError as error:
        return _left_out(pair, "unreadable", str(error), severity="error")
    return look


def _fit(pair: ImagePair, size: tuple[int, int], mask: NDArray[np.bool_]) -> _Look:
    """Compare a mask with its image's size and label."""
    share = float(mask.mean())
    if pair.authentic:
        contradiction = [Anomaly("mislabelled", "error", _contradiction(pair, share), pair.image)] if share else []
        return _Look(pair, share=share, anomalies=contradiction)
    shape = (int(mask.shape[0]), int(mask.shape[1]))
    sizes = f"The image has {_size(size)} pixels, its mask {pair.mask} has {_size(shape)}"
    if not share:
        return replace(_left_out(pair, "empty-mask", f"The mask {pair.mask} of a tampered image is empty."), share=0.0)
    if shape == size:
        return _Look(pair, share=share)
    if shape == size[::-1]:
        return replace(_left_out(pair, "transposed", f"{sizes}: turned by 90 degrees."), share=share)
    difference = abs(shape[0] * size[1] / (shape[1] * size[0]) - 1)
    if difference > MAX_ASPECT_DIFFERENCE:
        return replace(_left_out(pair, "mismatched", f"{sizes}: a mask of another picture?"), share=share)
    distortion = f", and its aspect ratio differs by {difference:.1%}" if difference > ASPECT_TOLERANCE else ""
    resized = Anomaly("resized", "warning", f"{sizes}{distortion}: it is scaled to the image.", pair.image)
    return _Look(pair, share=share, resized=True, anomalies=[resized])


def _left_out(pair: ImagePair, kind: str, reason: str, *, severity: Severity = "warning") -> _Look:
    return _Look(pair, fault=reason, anomalies=[Anomaly(kind, severity, f"Left out. {reason}", pair.image)])


def _contradiction(pair: ImagePair, share: float) -> str:
    return f"It is listed as authentic, but its mask {pair.mask} marks {share:.1%} of it."


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _about_all(looks: Sequence[_Look], alignment: Alignment) -> list[Anomaly]:
    """Return what only the whole set shows: polarity, pairing, conversion and alignment."""
    shares = [look.share for look in looks if not look.pair.authentic and look.share is not None]
    marked = [share for share in shares if share]
    found = []
    if marked and median(marked) > MAX_MEDIAN_SHARE:
        message = f"The masks mark {median(marked):.0%} of their image in the median: inverted?"
        found.append(Anomaly("inverted", "error", message))
    if len(marked) < len(shares) / 2:
        message = (
            f"{len(shares) - len(marked)} of {len(shares)} masks are empty: was this set converted by a wrong rule?"
        )
        found.append(Anomaly("empty-mask", "error", message))
    misfits = [look for look in looks if any(each.kind in {"transposed", "mismatched"} for each in look.anomalies)]
    if len(misfits) > MAX_MISFIT_SHARE * len(shares):
        message = (
            f"{len(misfits)} of {len(shares)} masks do not have the shape of their image, first: {misfits[0].fault} "
            "Check the pairing, and whether images were turned or cropped."
        )
        found.append(Anomaly("mismatched", "error", message))
    return found + _about_alignment(alignment)


def _about_alignment(alignment: Alignment) -> list[Anomaly]:
    if alignment.verdict == "aligned" or not alignment.images:
        return []
    x, y = alignment.shift
    basis = (
        f"over {alignment.images} images the match of contours and edges peaks {alignment.height:.1f} standard "
        f"deviations high at ({x:.0f}, {y:.0f}) (chance gives up to {LEAST_HEIGHT:.0f}), near (0, 0) it reaches "
        f"{alignment.near_zero:.1f} (chance: {LEAST_NEAR:.0f}), and {alignment.centred:.0%} of the bootstrap "
        "resamples peak there"
    )
    if alignment.verdict == "too few":
        return [Anomaly("misaligned", "note", f"Not enough images to tell whether the masks fit: {basis}.")]
    if alignment.verdict == "shifted":
        return [Anomaly("misaligned", "warning", f"Masks displaced by about ({x:.0f}, {y:.0f}) pixels? {_cap(basis)}.")]
    claim = "The masks do not follow what the images show: shuffled, or edits without a visible edge?"
    return [Anomaly("misaligned", "warning", f"{claim} {_cap(basis)}.")]


def _cap(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
