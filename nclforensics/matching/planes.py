"""What two places of an image are compared in: its brightness, and the detail finer than a few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nclforensics.matching.consensus import Affine

Plane = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are outside

FINE: Final = 1.5  # standard deviation in pixels of the blur whose difference is the detail


@dataclass(frozen=True)
class Planes:
    """Planes of one image, float32 (H, W): brightness in grey levels, and its detail, whose mean is about 0."""

    luma: Plane
    detail: Plane

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Planes:
        """Compute the planes of an image, uint8 (H, W, 3) RGB."""
        luma = np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)
        return cls(luma, np.asarray(luma - cv2.GaussianBlur(luma, (0, 0), FINE), np.float32))


def seen_through(plane: Plane, affine: Affine, box: Box) -> Plane:
    """Return the values at the images of a box's pixels, NaN where these lie outside: shape of the box.

    A displacement by whole pixels copies values, everything else interpolates cubically.
    """
    left, top, right, bottom = box
    there = affine.copy()
    there[:, 2] += affine[:, :2] @ (left, top)
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_NEAREST if is_shift(affine) else cv2.INTER_CUBIC)
    return np.asarray(
        cv2.warpAffine(
            plane,
            there,
            (right - left, bottom - top),
            flags=flags,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=np.nan,
        ),
        np.float32,
    )


def is_shift(affine: Affine) -> bool:
    """Tell whether a map displaces by whole pixels."""
    return bool((affine[:, :2] == np.eye(2)).all() and (affine[:, 2] == np.rint(affine[:, 2])).all())


def cut(plane: Plane, box: Box) -> Plane:
    """Return a box's values, a view."""
    left, top, right, bottom = box
    return plane[top:bottom, left:right]
