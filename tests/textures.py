"""Photograph-like pictures made of noise: as much of every scale as scenes have, in patches of varying strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.data.histories import decode_jpeg, jpeg_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def make_texture(height: int = 384, width: int = 384, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return a picture with sharp detail, never compressed: uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    levels = np.zeros((height, width), np.float32)
    for scale in (1, 2, 4, 8, 16, 32):
        strength = _layer(rng, height, width, 48) ** 2
        levels += scale**0.7 * strength * _layer(rng, height, width, scale)
    colour = np.stack([_layer(rng, height, width, 24) for _ in range(3)], axis=2)
    picture = 128 + 5 * levels[:, :, None] + 6 * colour
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def saved(image: NDArray[np.uint8], quality: int, *, subsampling: str = "4:2:0") -> NDArray[np.uint8]:
    """Return what is read of an image that was saved as JPEG, its grid at the corner."""
    return decode_jpeg(jpeg_bytes(image, {"quality": quality, "colour_quality": quality, "subsampling": subsampling}))


def _layer(rng: np.random.Generator, height: int, width: int, scale: int) -> NDArray[np.float32]:
    """Return normal noise whose grains are `scale` pixels wide."""
    coarse = rng.standard_normal((height // scale + 2, width // scale + 2), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
