"""What an image goes through between the camera and the examiner: filters and recompression.

A history is a list of steps. A step is a small dictionary that names its operation and numbers, so it can be written
down as JSON; drawing a step uses the generator, applying it does not. Authentic and forged samples, hosts and donors
draw from the same steps, so that a history alone never says "forged". Images are uint8 (H, W, 3) RGB throughout.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from nclforensics.data.camera import CAMERA_SCALES, apply_camera, draw_camera
from nclforensics.data.views import INTERPOLATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

Image = NDArray[np.uint8]
Step = dict[str, Any]

SUBSAMPLINGS: Final = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}
AVIF_SPEEDS: Final = {9: 0.85, 8: 0.12, 6: 0.03}  # libavif's; mostly the quickest, as 6 takes ten times as long
FILTER_SHARES: Final = {"blur": 0.2, "sharpen": 0.17, "noise": 0.2, "tone": 0.3, "vignette": 0.08, "median": 0.05}
ADJUSTMENT_SHARES: Final = {"gamma": 0.35, "tone": 0.1, "noise": 0.3, "blur": 0.15, "sharpen": 0.05, "median": 0.05}
LARGEST_GAMMA: Final = 2.5  # and its reciprocal
BLUR_SIGMAS: Final = (0.4, 3.0)  # pixels
NOISE_SIDE: Final = 1024
WEB_SCALES: Final = (0.25, 0.7)  # a picture of the web shows most of a photo
RESIZE_SCALES: Final = (0.45, 1.6)
LARGEST_STRETCH: Final = 0.2  # logarithm: 1.2 times as wide and 1.2 times less high, or the other way round
GRID_STARTS: Final = 8  # JPEG blocks are 8 pixels wide, so a grid can start in 8 places each way


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < share)


# --- JPEG ---------------------------------------------------------------------------------------------------------


def draw_jpeg(rng: np.random.Generator, *, low: int = 60, high: int = 100) -> Step:
    """Draw a JPEG saving whose quality lies in [low, high], half of the time in the upper third.

    Some get another quality for colour than for brightness, as the tables of many cameras and editors have.
    """
    if chance(rng, 0.5):
        low = high - (high - low) // 3
    quality = int(rng.integers(low, high + 1))
    colour = int(np.clip(quality + rng.integers(-15, 9), 40, 100)) if chance(rng, 0.35) else quality
    subsampling = str(rng.choice(list(SUBSAMPLINGS), p=[0.4, 0.1, 0.5]))
    return {"op": "jpeg", "quality": quality, "colour_quality": colour, "subsampling": subsampling}


def jpeg_bytes(image: Image, step: Step) -> bytes:
    """Return the JPEG file of an image as the step says; its grid starts at the image's corner."""
    options = [cv2.IMWRITE_JPEG_QUALITY, step["quality"]]
    if step["colour_quality"] != step["quality"]:
        options += [cv2.IMWRITE_JPEG_LUMA_QUALITY, step["quality"]]
        options += [cv2.IMWRITE_JPEG_CHROMA_QUALITY, step["colour_quality"]]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLINGS[step["subsampling"]]]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done
    return encoded.tobytes()


def decode_jpeg(content: bytes) -> Image:
    """Return the pixels of a JPEG file made by `jpeg_bytes`."""
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return _u8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _recompress(image: Image, step: Step) -> Image:
    """Save and load; the optional "phase" (rows, columns) is where the JPEG grid starts, if not at the corner."""
    down, right = step.get("phase", (0, 0))
    if down or right:
        image = _u8(cv2.copyMakeBorder(image, down, 0, right, 0, cv2.BORDER_REPLICATE))
    return np.ascontiguousarray(decode_jpeg(jpeg_bytes(image, step))[down:, right:])


# --- AVIF ---------------------------------------------------------------------------------------------------------


def draw_avif(rng: np.random.Generator) -> Step:
    """Draw a saving as AVIF, of quality 40 to 95; the quicker the encoder, the fewer sizes of blocks it tries."""
    quality = int(rng.integers(40, 96))
    subsampling = str(rng.choice(["4:2:0", "4:4:4"], p=[0.8, 0.2]))
    speed = int(rng.choice(list(AVIF_SPEEDS), p=list(AVIF_SPEEDS.values())))
    return {"op": "avif", "quality": quality, "subsampling": subsampling, "speed": speed}


def _avif(image: Image, step: Step) -> Image:
    settings = {key: step[key] for key in ("quality", "subsampling", "speed")}
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, "AVIF", max_threads=1, **settings)
    with PillowImage.open(file, formats=["AVIF"]) as decoded:
        return np.array(decoded.convert("RGB"))


# --- Filters ------------------------------------------------------------------------------------------------------


def _blur(image: Image, step: Step) -> Image:
    return _u8(cv2.GaussianBlur(image, (0, 0), step["sigma"]))


def _median(image: Image, _step: Step) -> Image:
    return _u8(cv2.medianBlur(image, 3))


def _sharpen(image: Image, step: Step) -> Image:
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    return _u8(cv2.addWeighted(image, 1 + step["amount"], soft, -step["amount"], 0))


def _noise(image: Image, step: Step) -> Image:
    height, width = image.shape[:2]
    top, left = (min(o, NOISE_SIDE - n) for o, n in zip(step["offset"], (height, width), strict=True))
    if max(height, width) > NOISE_SIDE:
        field = np.tile(_noise_field(), (height // NOISE_SIDE + 1, width // NOISE_SIDE + 1, 1))[:height, :width]
    else:
        field = _noise_field()[top : top + height, left : left + width]
    if step["grey"]:
        field = np.repeat(field[:, :, :1], 3, axis=2)
    scaled = np.multiply(field, np.float32(step["sigma"]), dtype=np.float32)
    return _u8(cv2.add(image, scaled, dtype=cv2.CV_8U))


@lru_cache(maxsize=1)
def _noise_field() -> NDArray[np.float32]:
    """Return fixed normal noise, from which every noise step takes a window: drawing it anew is far slower."""
    rng = np.random.default_rng(20230914)
    return rng.standard_normal((NOISE_SIDE, NOISE_SIDE, 3), dtype=np.float32)


def tone_table(gamma: float, gain: list[float], lift: list[float]) -> NDArray[np.uint8]:
    """Return the look-up table (256, 1, 3) of `255 (v / 255)^gamma * gain + lift`, one gain and lift a channel."""
    levels = 255.0 * (np.arange(256) / 255.0) ** gamma
    table = levels[:, None] * np.asarray(gain)[None] + np.asarray(lift)[None]
    return np.asarray(np.clip(np.rint(table), 0, 255), np.uint8)[:, None, :]


def _tone(image: Image, step: Step) -> Image:
    return _u8(cv2.LUT(image, tone_table(step["gamma"], step["gain"], step["lift"])))


def _vignette(image: Image, step: Step) -> Image:
    height, width = image.shape[:2]
    rows = (np.arange(height, dtype=np.float32) / height - step["centre"][0]) ** 2
    columns = (np.arange(width, dtype=np.float32) / width - step["centre"][1]) ** 2
    shade = 1 - np.float32(step["strength"]) * (rows[:, None] + columns[None])
    return _u8(cv2.multiply(image, cv2.merge([shade, shade, shade]), dtype=cv2.CV_8U))


def _resize(image: Image, step: Step) -> Image:
    height, width = step["size"]
    return _u8(cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[step["resampling"]]))


def draw_resampling(rng: np.random.Generator, *, smaller: bool) -> str:
    """Draw how an image is resized: key of `INTERPOLATIONS`; by area only where it gets smaller."""
    return "area" if smaller and chance(rng, 0.5) else str(rng.choice(["linear", "cubic"]))


def draw_resize(rng: np.random.Generator, size: tuple[int, ...], *, room: float = math.inf) -> tuple[list[int], Step]:
    """Draw a resizing to `size`, one in three not to the same shape; return the size before it, and the step.

    Args:
        rng: The sample's generator.
        size: Height and width afterwards.
        room: No side is longer before.
    """
    scale = np.exp(rng.uniform(*np.log(RESIZE_SCALES)))
    stretch = np.exp(rng.uniform(-LARGEST_STRETCH, LARGEST_STRETCH)) if chance(rng, 0.33) else 1.0
    sides = (size[0] / scale / stretch, size[1] / scale * stretch)
    before = [int(min(max(GRID_STARTS, round(side)), room)) for side in sides]
    resampling = draw_resampling(rng, smaller=before[0] > size[0] and before[1] > size[1])
    return before, {"op": "resize", "size": [int(side) for side in size[:2]], "resampling": resampling}


def draw_filter(rng: np.random.Generator) -> Step:
    """Draw one edit of a whole image: blur, sharpening, noise, tone, vignette or median."""
    op = str(rng.choice(list(FILTER_SHARES), p=list(FILTER_SHARES.values())))
    return DRAWS[op](rng)


def draw_noise(rng: np.random.Generator) -> Step:
    """Draw sensor-like noise of 0.7 to 8 grey levels, on all channels alike or on each."""
    offset = [int(v) for v in rng.integers(0, NOISE_SIDE, 2)]
    sigma = round(float(np.exp(rng.uniform(np.log(0.7), np.log(8)))), 3)
    return {"op": "noise", "sigma": sigma, "grey": chance(rng, 0.5), "offset": offset}


def draw_tone(rng: np.random.Generator) -> Step:
    """Draw a change of lighting: gamma, contrast and colour cast."""
    gain = (rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)).round(3).tolist()
    lift = (rng.uniform(-12, 12) + rng.uniform(-4, 4, 3)).round(2).tolist()
    return {"op": "tone", "gamma": round(float(np.exp(rng.uniform(-0.3, 0.3))), 3), "gain": gain, "lift": lift}


def draw_adjustment(rng: np.random.Generator) -> Step:
    """Draw one change of a whole picture, as far as an editor's sliders go: light, noise, blur or sharpness."""
    op = str(rng.choice(list(ADJUSTMENT_SHARES), p=list(ADJUSTMENT_SHARES.values())))
    if op == "blur":
        return {"op": "blur", "sigma": round(float(np.exp(rng.uniform(*np.log(BLUR_SIGMAS)))), 3)}
    if op == "gamma":
        gamma = float(np.exp(rng.uniform(-1, 1) * np.log(LARGEST_GAMMA)))
        return {"op": "tone", "gamma": round(gamma, 3), "gain": [1.0] * 3, "lift": [0.0] * 3}
    return DRAWS[op](rng)


def draw_hard_light(rng: np.random.Generator) -> Step:
    """Draw a light so hard that it blows out the highlights, or blackens the shadows: contrast about some level."""
    gain = (np.exp(rng.uniform(np.log(1.3), np.log(3.0))) * rng.uniform(0.93, 1.07, 3)).round(3)
    lift = (rng.uniform(40, 215) * (1 - gain)).round(2)
    return {"op": "tone", "gamma": 1.0, "gain": gain.tolist(), "lift": lift.tolist()}


def apply_step(image: Image, step: Step) -> Image:
    """Return the image after one step; the input is left as it was."""
    operation: Callable[[Image, Step], Image] = STEPS[step["op"]]
    return operation(image, step)


def _u8(image: Any) -> Image:  # noqa: ANN401 - what OpenCV returns
    return np.asarray(image, np.uint8)


STEPS: Final[dict[str, Callable[[Image, Step], Image]]] = {
    "avif": _avif,
    "blur": _blur,
    "camera": apply_camera,
    "jpeg": _recompress,
    "median": _median,
    "noise": _noise,
    "resize": _resize,
    "sharpen": _sharpen,
    "tone": _tone,
    "vignette": _vignette,
}
DRAWS: Final[dict[str, Callable[[np.random.Generator], Step]]] = {
    "blur": lambda rng: {"op": "blur", "sigma": round(float(rng.uniform(0.3, 1.6)), 3)},
    "median": lambda _rng: {"op": "median"},
    "noise": draw_noise,
    "sharpen": lambda rng: {"op": "sharpen", "amount": round(float(rng.uniform(0.2, 1.2)), 3)},
    "tone": draw_tone,
    "vignette": lambda rng: {
        "op": "vignette",
        "strength": round(float(rng.uniform(0.2, 0.9)), 3),
        "centre": rng.uniform(0.3, 0.7, 2).round(3).tolist(),
    },
}


# --- Sources ------------------------------------------------------------------------------------------------------


def draw_source_steps(rng: np.random.Generator) -> list[Step]:
    """Draw what a host or donor went through before the edit: nothing, a filter, a JPEG saving, or both."""
    steps = [draw_filter(rng)] if chance(rng, 0.22) else []
    if chance(rng, 0.5):
        steps.append(draw_jpeg(rng, low=50, high=98))
    return steps


def draw_camera_steps(rng: np.random.Generator) -> list[Step]:
    """Draw a camera of one's own, seldom followed by an edit, and whether it saved a JPEG of high quality."""
    steps = [draw_camera(rng)]
    if chance(rng, 0.15):
        steps.append(draw_filter(rng))
    if chance(rng, 0.35):
        steps.append(draw_jpeg(rng, low=80, high=99))
    return steps


def draw_web_steps(rng: np.random.Generator) -> list[Step]:
    """Draw how a picture of the web was made of a photo that is already small: perhaps sharpened, saved as JPEG."""
    steps: list[Step] = [DRAWS["sharpen"](rng)] if chance(rng, 0.3) else []
    return [*steps, draw_jpeg(rng, low=55, high=95)]


Origin = Literal["photo", "camera", "web"]
ORIGIN_STEPS: Final = {"photo": draw_source_steps, "camera": draw_camera_steps, "web": draw_web_steps}
ORIGIN_SCALES: Final = {"camera": CAMERA_SCALES, "web": WEB_SCALES}  # photos are seen as they are, or scaled at times


def draw_origin_steps(rng: np.random.Generator, origin: Origin, *, hard_light: float) -> list[Step]:
    """Draw what a host or donor of that origin went through, in a hard light with the given probability."""
    # A share of 0 draws nothing: the samples stay those of older models.
    light = [draw_hard_light(rng)] if hard_light and chance(rng, hard_light) else []
    return light + ORIGIN_STEPS[origin](rng)
