"""Decoding with OpenCV: every value as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from nclforensics.data.codecs.bands import row_bands
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What OpenCV has to say about a damaged file is in our own error; its log would land on stderr beside it.
# OpenCV 4 has the function at the top, OpenCV 5 in a module; 0 is silence in both.
(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def decode(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the samples, (H, W) or (H, W, C) in RGB order, of the depth that is stored, and no notes.

    Raises:
        UnreadableImageError: If OpenCV refuses the data.
    """
    try:
        # IMREAD_UNCHANGED also means: no EXIF rotation, no reduction to 8 bits.
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise UnreadableImageError(f"the decoder refused it ({error})") from error
    if samples is None:
        raise UnreadableImageError("the image data is damaged, or of a kind that the decoder does not know")
    if samples.ndim == 3 and samples.shape[2] > 2:  # noqa: PLR2004 - OpenCV's order is BGR
        for rows in row_bands(*samples.shape[:2]):
            samples[rows, :, :3] = samples[rows, :, 2::-1]
    return samples, ()
