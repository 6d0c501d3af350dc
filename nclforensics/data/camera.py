"""The traces that a camera leaves: one measured colour a pixel, noise that grows with the light, interpolation.

A photo that is scaled down to less than half has lost the traces of its own history; a simulated sensor then gives it
new ones, so that host and donor can come from two cameras with nothing saved in between.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Step = dict[str, Any]

FULL: Final = 65535
CAMERA_SCALES: Final = (0.3, 0.6)  # a photo scaled down so far has lost most traces of its own camera
DEMOSAICS: Final = {"bilinear": cv2.COLOR_BayerBG2RGB, "edge": cv2.COLOR_BayerBG2RGB_EA}
DENOISED: Final = 0.35  # share of the cameras that smooth their noise
SHARPENED: Final = 0.5
METHODS: Final = ("bilinear", "edge", "none")  # "none": a sensor that measures all colours, or a film scan


def draw_camera(rng: np.random.Generator) -> Step:
    """Draw a sensor and its processing."""
    return {
        "op": "camera",
        "shot": round(float(np.exp(rng.uniform(np.log(0.15), np.log(6.0)))), 3),
        "read": round(float(np.exp(rng.uniform(np.log(0.2), np.log(2.5)))), 3),
        "method": str(rng.choice(METHODS, p=[0.35, 0.45, 0.2])),
        "phase": [int(v) for v in rng.integers(0, 2, 2)],
        "denoise": round(float(rng.uniform(0.3, 0.8)), 3) if rng.random() < DENOISED else 0.0,
        "sharpen": round(float(rng.uniform(0.2, 1.0)), 3) if rng.random() < SHARPENED else 0.0,
        "seed": int(rng.integers(2**31)),
    }


def apply_camera(image: Image, step: Step) -> Image:
    """Return the image as that camera would have recorded it; the noise follows from the step's seed."""
    height, width = image.shape[:2]
    noise = np.random.default_rng(step["seed"]).standard_normal((height, width, 3), dtype=np.float32)
    levels = image.astype(np.float32)
    # In grey levels of the gamma-encoded picture, where shot noise is nearly flat with a maximum in the shadows.
    spread = np.sqrt(step["read"] ** 2 + step["shot"] ** 2 * (0.25 + 0.75 * np.sqrt(levels / 255)))
    sensed = np.clip((levels + noise * spread) * 257, 0, FULL).astype(np.uint16)
    if step["method"] != "none":
        sensed = _demosaiced(sensed, step)
    result = sensed.astype(np.float32) / 257
    if step["denoise"]:
        result = cv2.GaussianBlur(result, (0, 0), step["denoise"])
    if step["sharpen"]:
        soft = cv2.GaussianBlur(result, (0, 0), 1.0)
        result = result + step["sharpen"] * (result - soft)
    return np.asarray(np.clip(np.rint(result), 0, 255), np.uint8)


def _demosaiced(sensed: NDArray[np.uint16], step: Step) -> NDArray[np.uint16]:
    down, right = step["phase"]
    padded = cv2.copyMakeBorder(sensed, 2 + down, 3, 2 + right, 3, cv2.BORDER_REFLECT)
    mosaic = padded[:, :, 1].copy()
    mosaic[0::2, 0::2] = padded[0::2, 0::2, 0]  # Bayer "RGGB", which OpenCV calls BG
    mosaic[1::2, 1::2] = padded[1::2, 1::2, 2]
    colours = cv2.demosaicing(mosaic, DEMOSAICS[step["method"]])
    height, width = sensed.shape[:2]
    return np.ascontiguousarray(colours[2 + down : 2 + down + height, 2 + right : 2 + right + width])
