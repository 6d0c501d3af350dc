"""How often authentic photos show a region after the things that people do to photos without forging anything.

    python -m benchmarks.false_alarms PHOTOS [--model NAME] [--handling "WebP 80" ...]

The photos that every training holds back are handled as a viewer, an editor's global command or a web page handles
them. Printed is how many show a region at the model's default threshold, which was set so that 5 % of photos do as
they are and saved once more as JPEG. None is forged, so each region is a false alarm. docs/decision.md has the table;
changed levels have one of their own (benchmarks/changed_levels.py).
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pillow_heif
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from benchmarks.quality_facts import resized, saved
from nclforensics.data.histories import apply_step
from nclforensics.data.photos import PhotoPool
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.weights import DEFAULT_MODEL, LoadedModel, load_model
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import SPLIT_SEED

Image = NDArray[np.uint8]
Handling = Callable[[Image], Image]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--handling", nargs="+", choices=list(HANDLING), default=list(HANDLING))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    model = load_model(arguments.model)
    localizer = Localizer(model.network, device=torch.device("cpu"))
    photos = held_out_photos(arguments.photos)
    print(f"| handling | {model.name} shows a region in |\n|---|---|")
    for name in arguments.handling:
        regions = sum(shows_region(model, localizer, HANDLING[name](pixels)) for pixels in photos)
        print(f"| {name} | {regions} of {len(photos)} |", flush=True)


def held_out_photos(folder: Path) -> list[Image]:
    """Return the photos that every training holds back, without cut-out objects."""
    pool = PhotoPool.from_folder(folder, subset="validation", seed=SPLIT_SEED)
    held = [pool.photo(index) for index in range(len(pool))]
    return [photo.pixels for photo in held if photo is not None and photo.opacity is None]


def shows_region(model: LoadedModel, localizer: Localizer, image: Image) -> bool:
    """Tell whether a scan with the default threshold would mark anything."""
    return evidence_score(localizer.localize(image), min_region=model.min_region) > model.threshold


def recoded(extension: str, *options: int) -> Handling:
    """Return what saves an image in a format and reads it again."""

    def handle(image: Image) -> Image:
        done, content = cv2.imencode(extension, image[..., ::-1], options)
        assert done
        decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.ascontiguousarray(decoded[..., ::-1], np.uint8)

    return handle


def heic(quality: int) -> Handling:
    """Return what stores an image as HEIC, by x265 as it comes with the extra `heif`, and reads it again."""

    def handle(image: Image) -> Image:
        file = io.BytesIO()
        pillow_heif.from_pillow(PillowImage.fromarray(image)).save(file, quality=quality)
        return np.asarray(pillow_heif.open_heif(file, convert_hdr_to_8bit=True), np.uint8)

    return handle


def jpeg(quality: int) -> Handling:
    """Return what saves an image once more as JPEG."""
    return lambda image: saved(image, quality)[1]


def scaled(factor: float, quality: int | None = None) -> Handling:
    """Return what resizes an image, and perhaps saves it as JPEG."""

    def handle(image: Image) -> Image:
        changed = resized(image, factor, "cubic" if factor > 1 else "area")
        return changed if quality is None else saved(changed, quality)[1]

    return handle


def straightened(degrees: float) -> Handling:
    """Return what turns an image about its middle and cuts off what would be empty."""

    def handle(image: Image) -> Image:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        turned = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        edge = int(np.ceil(max(height, width) * abs(np.sin(np.radians(degrees)))))
        return np.ascontiguousarray(turned[edge // 2 : height - edge // 2, edge // 2 : width - edge // 2], np.uint8)

    return handle


def grey(image: Image) -> Image:
    """Return an image without colour."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)


def local_contrast(image: Image) -> Image:
    """Return an image whose brightness was spread tile by tile, as "HDR" filters do."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def grained(image: Image) -> Image:
    """Return an image with normal noise of 4 levels."""
    noise = np.random.default_rng(image.size).normal(0, 4, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


WEBP, AVIF = cv2.IMWRITE_WEBP_QUALITY, cv2.IMWRITE_AVIF_QUALITY
HANDLING: Final[dict[str, Handling]] = {
    "as they are": lambda image: image,
    **{f"JPEG {quality}": jpeg(quality) for quality in (98, 95, 90, 85, 75)},
    **{f"WebP {quality}": recoded(".webp", WEBP, quality) for quality in (95, 90, 80)},
    **{f"AVIF {quality}": recoded(".avif", AVIF, quality) for quality in (90, 70)},
    **{f"HEIC {quality}": heic(quality) for quality in (90, 70, 50)},
    "turned by 90 degrees": lambda image: np.ascontiguousarray(np.rot90(image)),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cropped by 3 rows and 5 columns": lambda image: np.ascontiguousarray(image[3:, 5:]),
    "straightened by 2 degrees": straightened(2),
    **{f"resized to {factor}": scaled(factor) for factor in (0.5, 0.75, 1.5)},
    "resized to 0.75, JPEG 85": scaled(0.75, 85),
    "without colour": grey,
    "sharpened": lambda image: apply_step(image, {"op": "sharpen", "amount": 0.5}),
    "local contrast": local_contrast,
    "bilateral filter": lambda image: np.asarray(cv2.bilateralFilter(image, 5, 15, 3), np.uint8),
    "grain": grained,
}

if __name__ == "__main__":
    main()
