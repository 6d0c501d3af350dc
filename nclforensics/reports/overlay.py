"""Pictures of a score map, for reading: the colour scale is the same for every image, never stretched to one.

An overlay shows the photo with colour where the score is elevated (0 leaves the photo as it is, 1 is brightest) and
the outline of the prediction in white on black, which is visible on any background. Where a copy was told from its
original, a box stands around the original and an arrow leads to the copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nclforensics.results import Copy

STRONGEST_TINT: Final = 0.65  # share of colour at score 1: the photo beneath stays legible
OUTLINE_DIVISOR: Final = 400  # an outline is as wide as 1/400 of the longer side, so that it survives a reduced view
UINT16_MAX: Final = 65535
# What a pixel of a prediction is; distinguishable with any kind of colour vision, and in grey.
HIT, MISS, FALSE_ALARM = (255, 255, 255), (0, 114, 178), (230, 159, 0)
_SCALE: Final[NDArray[np.uint8]] = np.asarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1], dtype=np.uint8
)


def render_overlay(
    image: NDArray[np.uint8],
    score_map: NDArray[np.float32],
    prediction: NDArray[np.bool_],
    copies: Sequence[Copy] = (),
) -> NDArray[np.uint8]:
    """Return the photo with its score map in colour, the prediction's outline, and where copies came from.

    Args:
        image: RGB, shape (H, W, 3), uint8.
        score_map: Scores, shape (H, W), in [0, 1].
        prediction: Shape (H, W), bool.
        copies: In pixels of the image; those that are not directed are not drawn.

    Returns:
        RGB, shape (H, W, 3), uint8.

    Raises:
        ShapeError: If the sizes differ.
    """
    if not image.shape[:2] == score_map.shape == prediction.shape:
        raise ShapeError(
            f"Expected one size, got image {image.shape}, score map {score_map.shape}, prediction {prediction.shape}."
        )
    overlay = np.empty_like(image)
    strip = max(1, 2**22 // image.shape[1])  # rows at once, so that the floats stay small beside a huge image
    for top in range(0, image.shape[0], strip):
        rows = slice(top, top + strip)
        overlay[rows] = _tinted(image[rows], score_map[rows])
    _draw_outline(overlay, prediction)
    for copy in copies:
        if copy.directed:
            _draw_origin(overlay, copy)
    return overlay


def outline_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the photo, RGB uint8 (H, W, 3), with the outline of a mask (H, W) in white on black."""
    outlined = image.copy()
    _draw_outline(outlined, mask)
    return outlined


def color_score_map(score_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a score map (H, W) in colour, RGB uint8 (H, W, 3): 0 is black, 1 light yellow, for every image alike."""
    return _SCALE[_levels(score_map)]


def color_scale() -> NDArray[np.uint8]:
    """Return the colours of `color_score_map` from score 0 to 1: RGB uint8 (256, 3)."""
    return _SCALE.copy()


def color_prediction(prediction: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a prediction and its mask, bool (H, W), in colour, RGB uint8: `HIT`, `MISS`, `FALSE_ALARM` or black."""
    colors = np.zeros((*mask.shape, 3), dtype=np.uint8)
    colors[prediction & mask] = HIT
    colors[~prediction & mask] = MISS
    colors[prediction & ~mask] = FALSE_ALARM
    return colors


def score_map_to_uint16(score_map: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return scores in [0, 1] as integers, round(score * 65535): 0 and 1 are exact, the error is at most 1 / 131070."""
    return np.rint(score_map.astype(np.float64) * UINT16_MAX).clip(0, UINT16_MAX).astype(np.uint16)


def _levels(score_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(score_map.clip(0, 1) * 255), dtype=np.uint8)


def _tinted(image: NDArray[np.uint8], score_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = _levels(score_map)
    share = (levels.astype(np.float32) * (STRONGEST_TINT / 255))[:, :, None]
    mixed: NDArray[np.uint8] = np.rint(image * (1 - share) + _SCALE[levels] * share).astype(np.uint8)
    return mixed


def _draw_origin(overlay: NDArray[np.uint8], copy: Copy) -> None:
    source, target = copy.source, copy.target
    corner = (source.x + source.width - 1, source.y + source.height - 1)
    ends = [(box.x + box.width // 2, box.y + box.height // 2) for box in (source, target)]
    for color, thickness in _strokes(overlay):
        cv2.rectangle(overlay, (source.x, source.y), corner, color, thickness)
        cv2.arrowedLine(overlay, ends[0], ends[1], color, thickness, tipLength=0.1)


def _draw_outline(overlay: NDArray[np.uint8], prediction: NDArray[np.bool_]) -> None:
    contours, _ = cv2.findContours(prediction.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for color, thickness in _strokes(overlay):
        cv2.drawContours(overlay, contours, -1, color, thickness)


def _strokes(overlay: NDArray[np.uint8]) -> tuple[tuple[tuple[int, int, int], int], ...]:
    """Return colours and widths, in this order, of a line that is visible on any background."""
    width = max(1, max(overlay.shape[:2]) // OUTLINE_DIVISOR)
    return ((0, 0, 0), 3 * width), ((255, 255, 255), width)
