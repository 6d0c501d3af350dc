"""Parts of an image that occur on it twice because somebody copied them.

Keypoints that look alike suggest maps (hypotheses.py); each map is checked pixel by pixel on the finest detail, where a
copy differs from a mere repetition (verification.py). docs/copy_move.md has the method, its error rates and its limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.errors import ShapeError, UsageError
from nclforensics.matching.consensus import apply, inverted
from nclforensics.matching.direction import suspicion_at
from nclforensics.matching.hypotheses import Hypothesis, find_hypotheses
from nclforensics.matching.planes import Planes
from nclforensics.matching.verification import Verified, verified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine

WORKING_THRESHOLD: Final = 0.5
CONFIRMED: Final = 0.51  # score at least of a copy that another method confirms: just above the working threshold
MOST_PIXELS: Final = 2_000_000
LONGEST_SIDE: Final = 32_000  # pixels; OpenCV 4 does not warp images from 32,767 on
SHORTEST_SIDE: Final = 32  # pixels; a smaller image has no room for a region and its copy
CHECKED: Final = 12  # hypotheses
APART: Final = 0.02  # of the diagonal: a copy lies at least so far away
LEAST_APART: Final = 16.0  # pixels
REACH: Final = 0.08  # of the diagonal: neighbouring pairs of one copy are not farther apart
LEAST_REACH: Final = 40.0
_FAINTEST: Final = 0.02  # score below which a copy is not reported
_SAME: Final = 6.0  # pixels by which two maps of one copy may differ


@dataclass(frozen=True, kw_only=True)
class CopiedRegion:
    """Two places that show the same content.

    Attributes:
        source: Bounding box (x, y, width, height) in pixels of the original if `directed`, else of the place whose
            content is the smaller.
        target: The other one: the copy if `directed`.
        directed: Whether it is known which one is the copy.
        affine: Takes places (x, y) of the source to the target, float64 (2, 3).
        matches: Keypoints that agree with that map.
        area: Pixels of the place whose content is the smaller.
        correlation: Of the fine detail of the two, in [-1, 1].
        score: In [0, 1]; above WORKING_THRESHOLD a copy is more likely than a repetition.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    directed: bool
    affine: Affine
    matches: int
    area: int
    correlation: float
    score: float


@dataclass(frozen=True)
class CopyMoveMap:
    """What was found: `score_map`, float32 (H, W) in [0, 1], marks the copy of each of the `regions`, best first.

    Where it is not known which place is the copy, both are marked.
    """

    score_map: NDArray[np.float32]
    regions: tuple[CopiedRegion, ...]


def find_copies(
    image: NDArray[np.uint8],
    *,
    scores: NDArray[np.float32] | None = None,
    both_places: bool = False,
    max_pixels: int = MOST_PIXELS,
) -> CopyMoveMap:
    """Find copied parts of an image.

    The result depends on pixels and scores alone: equal input gives equal bytes, whatever the number of threads.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: Of another method, float32 (H, W) in [0, 1]: they tell a copy from its original, and confirm copies
            whose agreement alone would not suffice (direction.py). Without, both places are marked.
        both_places: Mark the original of a copy in any case.
        max_pixels: A larger image is examined reduced to so many pixels, at least 10,000; one that is longer than
            LONGEST_SIDE, reduced to that.

    Returns:
        The score map is 0 where no copy was found; so it is throughout for an image with a side below SHORTEST_SIDE.

    Raises:
        ShapeError: If the image is not uint8 (H, W, 3) with at least one pixel, or the scores are of another size.
        UsageError: If `max_pixels` is too small.
    """
    _require_usable(image, scores, max_pixels)
    height, width = image.shape[:2]
    scale = min(1.0, float(np.sqrt(max_pixels / (height * width))), LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < SHORTEST_SIDE:
        return CopyMoveMap(np.zeros((height, width), np.float32), ())
    found = _copies(
        image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    )
    if not found:
        # Never written to, so that it takes no memory.
        return CopyMoveMap(np.zeros((height, width), np.float32), ())
    if scores is not None and scale < 1:
        scores = np.asarray(cv2.resize(scores, size, interpolation=cv2.INTER_AREA), np.float32)
    judged = sorted((_judged(copy, (size[1], size[0]), scores) for copy in found), key=lambda each: -each.score)
    score_map = _painted(judged, both_places=both_places)
    if scale < 1:
        score_map = np.asarray(cv2.resize(score_map, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
    factors = (width / size[0], height / size[1])
    return CopyMoveMap(score_map, tuple(_described(each, factors) for each in judged))


def _require_usable(image: NDArray[np.uint8], scores: NDArray[np.float32] | None, max_pixels: int) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:  # noqa: PLR2004 - RGB
        raise ShapeError(f"Expected an image (H, W, 3) of uint8, got shape {image.shape} of {image.dtype}.")
    if scores is not None and scores.shape != image.shape[:2]:
        raise ShapeError(f"Expected scores of shape {image.shape[:2]}, as the image is, got {scores.shape}.")
    if max_pixels < 10_000:  # noqa: PLR2004 - stated above
        raise UsageError(f'Expected "max_pixels" of at least 10000, got {max_pixels}.')


def _copies(image: NDArray[np.uint8]) -> list[Verified]:
    """Return the copies of an image of working size."""
    diagonal = float(np.hypot(*image.shape[:2]))
    apart, reach = max(LEAST_APART, APART * diagonal), max(LEAST_REACH, REACH * diagonal)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    planes = Planes.of(image)
    found: list[Verified] = []
    checked = 0
    for hypothesis in find_hypotheses(grey, apart=apart, reach=reach):
        if any(_is_known(hypothesis, copy) for copy in found):
            continue
        copy = verified(planes, hypothesis, apart=apart)
        if copy is not None and _score(copy) >= _FAINTEST:
            found.append(copy)
        checked += 1
        if checked == CHECKED:
            break
    return found


def _is_known(hypothesis: Hypothesis, copy: Verified) -> bool:
    """Tell whether most pairs of a hypothesis agree with a copy that was found already, in either direction."""
    for affine in (copy.affine, inverted(copy.affine)):
        far = np.hypot(*(apply(affine, hypothesis.sources) - hypothesis.targets).T) > _SAME
        if 2 * np.count_nonzero(far) < len(far):
            return True
    return False


def _score(copy: Verified) -> float:
    return float(1 / (1 + np.exp(-copy.evidence)))


@dataclass(frozen=True)
class _Judged:
    """A copy with its source and target, uint8 (H, W) of 0 and 1, and whether it is known which of them is which."""

    copy: Verified
    places: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    affine: Affine
    directed: bool
    score: float


def _judged(copy: Verified, shape: tuple[int, int], scores: NDArray[np.float32] | None) -> _Judged:
    places, affine, score = _places(copy, shape), copy.affine, _score(copy)
    suspicion = None if scores is None else suspicion_at(*places, scores)
    if suspicion is None:
        return _Judged(copy, places, affine, directed=False, score=score)
    if suspicion.copy == "source":
        places, affine = (places[1], places[0]), inverted(affine)
    if suspicion.confirms:
        score = max(score, CONFIRMED)
    return _Judged(copy, places, affine, directed=suspicion.copy is not None, score=score)


def _painted(judged: list[_Judged], *, both_places: bool) -> NDArray[np.float32]:
    score_map = np.zeros(judged[0].places[0].shape, np.float32)
    for each in judged:
        for place in each.places[1:] if each.directed and not both_places else each.places:
            np.maximum(score_map, place * np.float32(each.score), out=score_map)
    return score_map


def _places(copy: Verified, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the place of a copy's region and that of its image under the map, uint8 (H, W) of 0 and 1."""
    left, top, right, bottom = copy.box
    source = np.zeros(shape, np.uint8)
    source[top:bottom, left:right] = copy.region
    size = (shape[1], shape[0])
    return source, np.asarray(cv2.warpAffine(source, copy.affine, size, flags=cv2.INTER_NEAREST), np.uint8)


def _described(judged: _Judged, factors: tuple[float, float]) -> CopiedRegion:
    """Describe a copy in pixels of the image as it came, `factors` times as wide and high."""
    source, target = (_box(place, factors) for place in judged.places)
    affine = judged.affine.copy()
    stretch = np.diag(factors)
    affine[:, :2] = stretch @ affine[:, :2] @ np.linalg.inv(stretch)
    # Pixel centres: x of the image is factor * (x + 0.5) - 0.5 of the reduced one.
    shift = (np.array(factors) - 1) / 2
    affine[:, 2] = stretch @ judged.affine[:, 2] + shift - affine[:, :2] @ shift
    return CopiedRegion(
        source=source,
        target=target,
        directed=judged.directed,
        affine=affine,
        matches=judged.copy.matches,
        area=round(int(judged.copy.region.sum()) * factors[0] * factors[1]),
        correlation=judged.copy.correlation,
        score=judged.score,
    )


def _box(place: NDArray[np.uint8], factors: tuple[float, float]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(place)
    right, bottom = round((left + width) * factors[0]), round((top + height) * factors[1])
    left, top = round(left * factors[0]), round(top * factors[1])
    return left, top, right - left, bottom - top
