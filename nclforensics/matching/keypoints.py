"""SIFT keypoints of an image, spread over all of it, and the descriptors that its mirror image would have there.

Source: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, as OpenCV computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTRAST: Final = 0.012  # OpenCV's default is 0.04, which leaves smooth areas without keypoints
CELLS: Final = 16  # the image is divided into so many rows and columns of cells
MOST: Final = 5500
_ROWS, _COLUMNS, _ORIENTATIONS = 4, 4, 8  # layout of a descriptor


@dataclass(frozen=True)
class Keypoints:
    """Keypoints, strongest of their cells first.

    Attributes:
        places: Centres (x, y) in pixels, float64 (K, 2).
        sizes: Diameters in pixels, float64 (K,).
        angles: Orientations in radians, float64 (K,), clockwise on the screen.
        descriptors: float32 (K, 128), whole numbers in [0, 255]: inner products of them are exact in float32,
            whatever the order of summation.
    """

    places: NDArray[np.float64]
    sizes: NDArray[np.float64]
    angles: NDArray[np.float64]
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.places)


def find_keypoints(grey: NDArray[np.uint8]) -> Keypoints:
    """Find at most MOST keypoints: every cell gives its strongest one before any cell gives its second.

    Args:
        grey: Image, shape (H, W).
    """
    sift = cv2.SIFT.create(contrastThreshold=CONTRAST)
    most = min(MOST, 2500 + round(3000 * grey.size / 1e6))
    strongest = _spread(list(sift.detect(grey, None)), grey.shape[0], grey.shape[1])[:most]
    found, descriptors = sift.compute(grey, strongest)
    return Keypoints(
        places=np.array([keypoint.pt for keypoint in found], np.float64).reshape(-1, 2),
        sizes=np.array([keypoint.size for keypoint in found], np.float64),
        angles=np.radians([keypoint.angle for keypoint in found]),
        descriptors=np.asarray(descriptors, np.float32) if len(found) else np.zeros((0, 128), np.float32),
    )


def _spread(found: list[cv2.KeyPoint], height: int, width: int) -> list[cv2.KeyPoint]:
    if not found:
        return []
    places = np.array([keypoint.pt for keypoint in found])
    cells = (places * CELLS / (width, height)).astype(np.int64).clip(0, CELLS - 1) @ (1, CELLS)
    strength = np.array([keypoint.response for keypoint in found])
    order = np.lexsort((places[:, 0], places[:, 1], -strength, cells))
    first = np.r_[0, np.flatnonzero(np.diff(cells[order])) + 1]  # where each cell begins
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return [found[index] for index in order[np.argsort(rank, kind="stable")]]


def mirrored(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the descriptors (K, 128) of the same keypoints in the mirror image.

    In the frame of the keypoint's orientation, mirroring exchanges upper and lower rows of cells, and gradients to the
    left of the orientation with those to its right.
    """
    cells = descriptors.reshape(-1, _ROWS, _COLUMNS, _ORIENTATIONS)
    turned = cells[:, ::-1][..., -np.arange(_ORIENTATIONS) % _ORIENTATIONS]
    return np.ascontiguousarray(turned.reshape(-1, _ROWS * _COLUMNS * _ORIENTATIONS))
