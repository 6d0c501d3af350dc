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
from nclforensics.matching.hypotheses import Hypothesis, find_hypotheses
from nclforensics.matching.planes import Planes
from nclforensics.matching.verification import Verified, verified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.consensus import Affine

WORKING_THRESHOLD: Final = 0.5
MOST_PIXELS: Final = 2_000_000
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
    """Two places that show the same content. Which of them is the original is not known.

    Attributes:
        source: The place whose content is the smaller: bounding box (x, y, width, height) in pixels.
        target: The other one.
        affine: Takes places (x, y) of the source to the target, float64 (2, 3).
        matches: Keypoints that agree with that map.
        area: Pixels of the source.
        correlation: Of the fine detail of the two, in [-1, 1].
        score: In [0, 1]; above WORKING_THRESHOLD a copy is more likely than a repetition.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    affine: Affine
    matches: int
    area: int
    correlation: float
    score: float


@dataclass(frozen=True)
class CopyMoveMap:
    """What was found: `score_map`, float32 (H, W) in [0, 1], marks both places of each of the `regions`, best first."""

    score_map: NDArray[np.float32]
    regions: tuple[CopiedRegion, ...]


def find_copies(image: NDArray[np.uint8], *, max_pixels: int = MOST_PIXELS) -> CopyMoveMap:
    """Find copied parts of an image.

    The result depends on the pixels alone: equal input gives equal bytes, whatever the number of threads.

    Args:
        image: uint8 (H, W, 3) RGB.
        max_pixels: A larger image is examined reduced to so many pixels, at least 10,000.

    Returns:
        The score map is 0 where no copy was found; so it is throughout for an image with a side below SHORTEST_SIDE.

    Raises:
        ShapeError: If the image is not uint8 (H, W, 3) with at least one pixel.
        UsageError: If `max_pixels` is too small.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:  # noqa: PLR2004 - RGB
        raise ShapeError(f"Expected an image (H, W, 3) of uint8, got shape {image.shape} of {image.dtype}.")
    if max_pixels < 10_000:  # noqa: PLR2004 - stated above
        raise UsageError(f'Expected "max_pixels" of at least 10000, got {max_pixels}.')
    height, width = image.shape[:2]
    scale = min(1.0, float(np.sqrt(max_pixels / (height * width))))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < SHORTEST_SIDE:
        return CopyMoveMap(np.zeros((height, width), np.float32), ())
    small = image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = _copies(small)
    if found:
        score_map = _painted(found, (size[1], size[0]))
        if scale < 1:
            score_map = np.asarray(cv2.resize(score_map, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
    else:
        score_map = np.zeros((height, width), np.float32)  # never written to, so that it takes no memory
    factors = (width / size[0], height / size[1])
    return CopyMoveMap(score_map, tuple(_described(copy, small.shape, factors) for copy in found))


def _copies(image: NDArray[np.uint8]) -> list[Verified]:
    """Return the copies of an image of working size, best first."""
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
    return sorted(found, key=lambda copy: -copy.evidence)


def _is_known(hypothesis: Hypothesis, copy: Verified) -> bool:
    """Tell whether most pairs of a hypothesis agree with a copy that was found already, in either direction."""
    for affine in (copy.affine, inverted(copy.affine)):
        far = np.hypot(*(apply(affine, hypothesis.sources) - hypothesis.targets).T) > _SAME
        if 2 * np.count_nonzero(far) < len(far):
            return True
    return False


def _score(copy: Verified) -> float:
    return float(1 / (1 + np.exp(-copy.evidence)))


def _painted(copies: list[Verified], shape: tuple[int, int]) -> NDArray[np.float32]:
    score_map = np.zeros(shape, np.float32)
    for copy in copies:
        for place in _places(copy, shape):
            np.maximum(score_map, place * np.float32(_score(copy)), out=score_map)
    return score_map


def _places(copy: Verified, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both places of a copy, uint8 (H, W) of 0 and 1."""
    left, top, right, bottom = copy.box
    source = np.zeros(shape[:2], np.uint8)
    source[top:bottom, left:right] = copy.region
    size = (shape[1], shape[0])
    return source, np.asarray(cv2.warpAffine(source, copy.affine, size, flags=cv2.INTER_NEAREST), np.uint8)


def _described(copy: Verified, shape: tuple[int, ...], factors: tuple[float, float]) -> CopiedRegion:
    """Describe a copy in pixels of the image as it came, `factors` times as wide and high."""
    source, target = (_box(place, factors) for place in _places(copy, shape))
    affine = copy.affine.copy()
    stretch = np.diag(factors)
    affine[:, :2] = stretch @ affine[:, :2] @ np.linalg.inv(stretch)
    # Pixel centres: x of the image is factor * (x + 0.5) - 0.5 of the reduced one.
    shift = (np.array(factors) - 1) / 2
    affine[:, 2] = stretch @ copy.affine[:, 2] + shift - affine[:, :2] @ shift
    return CopiedRegion(
        source=source,
        target=target,
        affine=affine,
        matches=copy.matches,
        area=round(int(copy.region.sum()) * factors[0] * factors[1]),
        correlation=copy.correlation,
        score=_score(copy),
    )


def _box(place: NDArray[np.uint8], factors: tuple[float, float]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(place)
    right, bottom = round((left + width) * factors[0]), round((top + height) * factors[1])
    left, top = round(left * factors[0]), round(top * factors[1])
    return left, top, right - left, bottom - top
