"""What `nclf eval --robustness` does to images before they are analysed: defined levels, and no chance but the noise.

The levels of JPEG, blur and noise are those of IMDL-BenCo (training_scripts/test_robust.py with
transforms/robustness_wrapper.py), applied like there to the stored pixels, before any resizing of the protocol; but its
JPEG draws the quality named or one less, and its noise is not repeatable. The levels of resizing, gamma and the
social-network chain are this project's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
NOISE_SEED: Final = 20240613


@dataclass(frozen=True)
class Level:
    """One level of a degradation.

    Attributes:
        label: In words, such as "quality 70".
        apply: Takes image, mask and the SHA-256 of the image's file, returns the degraded image and the mask that
            belongs to it; its arguments are left as they were.
    """

    label: str
    apply: Callable[[Image, Mask, str], tuple[Image, Mask]]


@dataclass(frozen=True)
class Degradation:
    """One way in which images get worse.

    Attributes:
        family: Its name in tables.
        title: Its name in words.
        definition: What happens to the pixels, and where the levels come from.
        levels: In the order of the axis of a plot.
    """

    family: str
    title: str
    definition: str
    levels: tuple[Level, ...]


def _jpeg(quality: int) -> Level:
    def apply(image: Image, mask: Mask, _sha256: str) -> tuple[Image, Mask]:
        return _recompressed(image, quality), mask

    return Level(f"quality {quality}", apply)


def _blur(kernel: int) -> Level:
    def apply(image: Image, mask: Mask, _sha256: str) -> tuple[Image, Mask]:
        return np.asarray(cv2.GaussianBlur(image, (kernel, kernel), 0), np.uint8), mask

    return Level(f"kernel {kernel}", apply)


def _noise(variance: int) -> Level:
    def apply(image: Image, mask: Mask, sha256: str) -> tuple[Image, Mask]:
        generator = np.random.default_rng([NOISE_SEED, int(sha256[:16], 16)])
        noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(variance**0.5)
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8), mask  # rounds and saturates

    return Level(f"variance {variance}", apply)


def _resize(factor: float) -> Level:
    def apply(image: Image, mask: Mask, _sha256: str) -> tuple[Image, Mask]:
        return _scaled(image, mask, factor)

    return Level(f"factor {factor:g}", apply)


def _gamma(gamma: float) -> Level:
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)

    def apply(image: Image, mask: Mask, _sha256: str) -> tuple[Image, Mask]:
        return np.asarray(cv2.LUT(image, table), np.uint8), mask

    return Level(f"gamma {gamma:g}", apply)


def _social(*posts: tuple[int, int]) -> Level:
    """Return a chain of posts, each a largest side in pixels and a JPEG quality."""

    def apply(image: Image, mask: Mask, _sha256: str) -> tuple[Image, Mask]:
        for side, quality in posts:
            image, mask = _scaled(image, mask, min(1.0, side / max(mask.shape)))
            image = _recompressed(image, quality)
        return image, mask

    return Level(", then ".join(f"{side} px q{quality}" for side, quality in posts), apply)


def _recompressed(image: Image, quality: int) -> Image:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    done, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _scaled(image: Image, mask: Mask, factor: float) -> tuple[Image, Mask]:
    size = (max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor)))
    if size == (mask.shape[1], mask.shape[0]):
        return image, mask
    smaller = factor < 1
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    followed = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled, np.uint8), np.asarray(followed, np.bool_)


_GRID: Final = "The levels are IMDL-BenCo's."
_OWN: Final = "The levels are this project's own."
DEGRADATIONS: Final = (
    Degradation(
        "jpeg",
        "JPEG recompression",
        f"Saved as baseline JPEG by OpenCV at the quality named, chroma subsampled 4:2:0, and decoded again. {_GRID}",
        tuple(_jpeg(quality) for quality in (100, 90, 80, 70, 60, 50)),
    ),
    Degradation(
        "blur",
        "Gaussian blur",
        "Kernel of k x k pixels with sigma = 0.3 ((k - 1) / 2 - 1) + 0.8, OpenCV's rule; IMDL-BenCo's level 0 is the "
        f"undegraded image. {_GRID}",
        tuple(_blur(kernel) for kernel in (3, 7, 11, 15, 19, 23)),
    ),
    Degradation(
        "noise",
        "Gaussian noise",
        "White noise of the variance named, in squared grey levels of 0 to 255 (variance 23: standard deviation 4.8), "
        "drawn for every pixel and channel, then rounded and clipped. The noise of an image is seeded by its SHA-256 "
        f"and the same at every level but for its scale. {_GRID}",
        tuple(_noise(variance) for variance in (3, 7, 11, 15, 19, 23)),
    ),
    Degradation(
        "resize",
        "Resizing",
        "Both sides times the factor; area averaging when it shrinks, bicubic when it grows. The mask follows by "
        f"nearest neighbour and scoring is at the new size. {_OWN}",
        tuple(_resize(factor) for factor in (1.5, 0.75, 0.5, 0.25)),
    ),
    Degradation(
        "gamma",
        "Gamma",
        f"Every grey level v becomes 255 (v / 255)^gamma, rounded; gamma below 1 brightens. {_OWN}",
        tuple(_gamma(gamma) for gamma in (0.5, 0.75, 1.5, 2.0)),
    ),
    Degradation(
        "social",
        "Social-network chain",
        "What a post does to a photo: shrunk by area averaging until its longer side has at most the pixels named, the "
        "mask following by nearest neighbour, then JPEG at the quality named, chroma 4:2:0. Metadata is gone, which "
        "changes nothing here since only pixels are analysed. A model of no particular network; " + _OWN.lower(),
        (
            _social((2048, 85)),
            _social((1600, 75)),
            _social((1080, 65)),
            _social((1600, 80), (1080, 70)),
        ),
    ),
)
