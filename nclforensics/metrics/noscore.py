"""The no-score border of a mask: where ground truth is drawn by hand, its edge is nobody's mistake.

MediScore's MaskScorer (NIST) and TruFor leave out the pixels between the eroded and the dilated mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ERODE: Final = 15  # sides of the square kernels, as in TruFor's test_docker/metrics.py
DILATE: Final = 11


def scored_pixels(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels are scored: those well inside the tampered region and those well outside.

    A tampered pixel is scored if the square of 15 pixels around it is tampered throughout (7 to each side), an
    authentic one if the square of 11 around it is authentic throughout. What lies beyond the image has no say.

    Args:
        mask: Ground truth, bool (H, W).

    Returns:
        bool (H, W); a region narrower than 15 pixels has no scored pixel.
    """
    tampered = mask.astype(np.uint8)
    # OpenCV's default border never wins a minimum or a maximum.
    core = cv2.erode(tampered, np.ones((ERODE, ERODE), np.uint8))
    reach = cv2.dilate(tampered, np.ones((DILATE, DILATE), np.uint8))
    return np.asarray((core == 1) | (reach == 0), dtype=np.bool_)
