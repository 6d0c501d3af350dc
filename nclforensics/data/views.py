"""Which part of a photo is seen, at which scale and angle: always inside the photo, so that no border is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from nclforensics.data.histories import Image, Step

INTERPOLATIONS: Final = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
LARGEST_SCALE: Final = 3.0


def draw_view(
    rng: np.random.Generator,
    *,
    photo: tuple[int, ...],
    size: tuple[int, int],
    scales: tuple[float, float] = (1.0, 1.0),
    turn: bool = False,
    grid: int = 1,
) -> Step | None:
    """Draw which part of a photo is seen, at which scale and angle, always inside the photo.

    Args:
        rng: The sample's generator.
        photo: Height and width of the photo (further entries are not read).
        size: Height and width of the view, in pixels.
        scales: Lowest and highest scale in view pixels per photo pixel; a small photo is enlarged further if needed.
        turn: Whether the view is rotated, by up to 45 degrees.
        grid: A view at scale 1 starts at multiples of this.

    Returns:
        The view, for `cut_view`; None if the photo is too small even when enlarged three times.
    """
    height, width = size
    angle = round(float(rng.uniform(-45, 45)), 2) if turn else 0.0
    sine, cosine = abs(np.sin(np.radians(angle))), abs(np.cos(np.radians(angle)))
    need = np.array([height * cosine + width * sine, width * cosine + height * sine]) + (4 if turn else 0)
    least = float((need / np.array(photo[:2], dtype=np.float64)).max())
    scale = max(float(np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1])))), least)
    if scale > LARGEST_SCALE:
        return None
    room = np.array(photo[:2]) - np.ceil(need / scale)
    top, left = (int(v) // grid * grid for v in rng.random(2) * (np.maximum(room, 0) + 1))
    resampling = "area" if scale < 1 and not turn else str(rng.choice(["linear", "cubic"]))
    return {"op": "view", "corner": [top, left], "scale": round(scale, 4), "angle": angle, "resampling": resampling}


def cut_view(pixels: Image, view: Step, size: tuple[int, int]) -> Image:
    """Return the view as an image of `size` (height, width), a copy."""
    height, width = size
    top, left = view["corner"]
    flags = INTERPOLATIONS[view["resampling"]]
    if view["angle"]:
        middle = (left + _turned(width, height, view), top + _turned(height, width, view))
        matrix = cv2.getRotationMatrix2D(middle, view["angle"], view["scale"])
        matrix[:, 2] += (width / 2 - middle[0], height / 2 - middle[1])
        return np.asarray(
            cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
    if view["scale"] == 1:
        return np.array(pixels[top : top + height, left : left + width])
    rows, columns = (max(1, int(n / view["scale"])) for n in size)
    return np.asarray(
        cv2.resize(pixels[top : top + rows, left : left + columns], (width, height), interpolation=flags), np.uint8
    )


def _turned(along: int, across: int, view: Step) -> float:
    angle = np.radians(view["angle"])
    return float((along * abs(np.cos(angle)) + across * abs(np.sin(angle)) + 4) / view["scale"] / 2)
