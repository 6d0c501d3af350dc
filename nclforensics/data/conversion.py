"""From the samples that a file stores to what the networks see: uint8 RGB, by fixed rules, each use of one noted.

Grey is repeated into three channels; 16 and 32-bit integers keep their high byte (value >> 8, >> 24); floats within
[0, 1] are multiplied by 255 and rounded, floats within [0, 255] are rounded; an alpha channel is dropped, not blended.
Colour profiles and orientation tags are not applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nclforensics.data.codecs.bands import row_bands
from nclforensics.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_rgb8(samples: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return uint8 (H, W, 3) and the conversions in words; what is that already is returned as it is.

    Args:
        samples: (H, W) or (H, W, C) with 1 to 4 channels, RGB order, of any depth.

    Raises:
        UnreadableImageError: If there is no rule for such samples.
    """
    notes = ["alpha channel dropped"] if samples.ndim == 3 and samples.shape[2] in {2, 4} else []  # noqa: PLR2004
    colours = without_alpha(samples)
    scale, depth_notes = _scale_of(colours)
    notes += depth_notes
    if colours.ndim == 2:  # noqa: PLR2004 - grey
        notes.append("grey repeated into three channels")
        colours = colours[:, :, None]
    elif colours.dtype == np.uint8 and colours.flags.c_contiguous:
        return colours, tuple(notes)
    height, width = colours.shape[:2]
    pixels = np.empty((height, width, 3), np.uint8)
    for rows in row_bands(height, width):
        pixels[rows] = _to_8_bits(colours[rows], scale)
    return pixels, tuple(notes)


def without_alpha(samples: NDArray[Any]) -> NDArray[Any]:
    """Return the colours alone: (H, W) or (H, W, 3), a view.

    Raises:
        UnreadableImageError: If there are more than four channels.
    """
    if samples.ndim == 2:  # noqa: PLR2004 - grey
        return samples
    channels = samples.shape[2]
    if not 1 <= channels <= 4:  # noqa: PLR2004 - grey, grey + alpha, RGB, RGB + alpha
        raise UnreadableImageError(f"expected 1 to 4 channels, found {channels}")
    return samples[:, :, 0] if channels < 3 else samples[:, :, :3]  # noqa: PLR2004


def _scale_of(samples: NDArray[Any]) -> tuple[float, list[str]]:
    """Return by what the samples are multiplied to give 0 to 255, and that in words."""
    if samples.dtype == np.uint8:
        return 1, []
    if samples.dtype == np.bool_:
        return 255, ["1 bit scaled to 8"]
    if samples.dtype.kind == "u":
        bits = samples.dtype.itemsize * 8
        return 0.5 ** (bits - 8), [f"{bits} bits reduced to 8 (high byte)"]
    if samples.dtype.kind != "f":
        raise UnreadableImageError(f"samples of type {samples.dtype} are not supported")
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= 255):  # noqa: PLR2004 - also false for NaN
        raise UnreadableImageError(f"float samples span {low:g} to {high:g}, expected [0, 1] or [0, 255]")
    scale = 255 if high <= 1 else 1
    return scale, [f"floats rounded to 8 bits (times {scale})"]


def _to_8_bits(samples: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    if samples.dtype.kind == "f":
        return np.rint(samples * scale).astype(np.uint8)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    return (samples >> (samples.dtype.itemsize * 8 - 8)).astype(np.uint8)
