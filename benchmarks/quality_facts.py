"""Error rates of the quality facts, and how far the model sees through compression: the tables of docs/decision.md.

    python benchmarks/quality_facts.py PHOTOS [--photos 100] [--screenshots DIR] [--model NAME --forgeries 60]

Photos whose shorter side has at least 400 pixels are shrunk to 60 % by area averaging, which wipes out most of their
own JPEG traces, and then saved once, twice, or resized and saved. Without --model the network is not used. Everything
is drawn with fixed seeds: the same photos give the same tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge
from nclforensics.data.histories import decode_jpeg, jpeg_bytes
from nclforensics.data.images import find_images, read_image
from nclforensics.data.photos import PhotoPool
from nclforensics.data.quality import image_quality
from nclforensics.errors import NclfError
from nclforensics.metrics.image import image_auc
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.inference import Localizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nclforensics.results import QualityFacts

Image = NDArray[np.uint8]

LAST: Final = (None, 98, 95, 90, 80, 70, 50)
EARLIER: Final = (None, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92, 95)
FACTORS: Final = ((1.0, "none"), (0.75, "area"), (0.9, "cubic"), (1.3, "cubic"), (1.5, "cubic"), (1.5, "linear"))
FACTORS_UP: Final = ((1.8, "cubic"), (2.0, "cubic"), (2.6, "cubic"))
INTERPOLATIONS: Final = {
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "linear": cv2.INTER_LINEAR,
    "lanczos": cv2.INTER_LANCZOS4,
}
QUALITIES: Final = (None, 95, 90, 85, 80, 75, 70, 60, 50, 40)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--photos", type=int, default=100, dest="count", help="photos that the tables are made from")
    parser.add_argument("--screenshots", type=Path, help="folder of screenshots (PNG)")
    parser.add_argument("--model", help="also measure this model on forgeries made from the held-out photos")
    parser.add_argument("--forgeries", type=int, default=60)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    as_found(arguments.photos)
    sources = list(islice(shrunk_photos(arguments.photos, 0.6), arguments.count))
    speed(sources)
    earlier_savings(sources)
    resizing(list(islice(shrunk_photos(arguments.photos, 0.5), arguments.count)))
    if arguments.screenshots is not None:
        screenshots(arguments.screenshots)
    if arguments.model is not None:
        detection(arguments.photos, arguments.model, arguments.forgeries)


def as_found(folder: Path) -> None:
    """Print how many photos have each hint, as they are."""
    facts = []
    for path in find_images(folder):
        try:
            image = read_image(path)
        except NclfError:
            continue
        facts.append(image_quality(path.read_bytes(), image.pixels, image.format))
    print(f"\nPhotos as they are: {len(facts)}")
    print(f"earlier JPEG {count(facts, has_earlier)}, resized {count(facts, is_resized)}, ", end="")
    print(f"upscaled {count(facts, is_upscaled)}, screenshot-like {count(facts, is_screen)}, ", end="")
    print(f"near-uniform {count(facts, is_uniform)}, levels changed {count(facts, is_changed)}")


def shrunk_photos(folder: Path, factor: float) -> Iterator[Image]:
    """Yield photos, shuffled, made smaller by area averaging."""
    paths = find_images(folder)
    for index in np.random.default_rng(0).permutation(len(paths)):
        try:
            pixels = read_image(paths[index]).pixels
        except NclfError:
            continue
        if min(pixels.shape[:2]) >= 400:  # noqa: PLR2004 - explained above
            yield resized(pixels, factor, "area")


def speed(images: list[Image]) -> None:
    """Print what the facts cost on one core."""
    tile = np.concatenate([cv2.resize(image, (256, 1024)) for image in images[:4]], axis=1)
    content = saved(tile, 90)[0]
    times = []
    for _ in range(5):
        start = time.process_time()
        image_quality(content, tile, "JPEG")
        times.append(time.process_time() - start)
    print(f"\n{statistics.median(times) * 1000:.0f} ms for {tile.shape[1]} x {tile.shape[0]} pixels")


def earlier_savings(images: list[Image]) -> None:
    """Print how often an earlier saving is seen, and how well its quality is known."""
    print(f"\nEarlier JPEG: share flagged of {len(images)} images (median error of the quality, where flagged)")
    print("last save   " + "".join(f"{name(quality):>12}" for quality in EARLIER))
    for last in LAST:
        cells = []
        for earlier in EARLIER:
            once = [image if earlier is None else saved(image, earlier)[1] for image in images]
            facts = [facts_of(image, last) for image in once]
            found = [fact.earlier_jpeg_quality for fact in facts if fact.earlier_jpeg_quality is not None]
            error = statistics.median(abs(quality - earlier) for quality in found) if found and earlier else None
            cells.append(f"{len(found) / len(facts):.2f}" + (f" ({error:.0f})" if error is not None else "    "))
        print(f"{name(last):12}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def resizing(images: list[Image]) -> None:
    """Print how often resizing is seen, and how often it is taken for enlargement."""
    print(f"\nResizing: share flagged as resized / as upscaled of {len(images)} images")
    print("resized by          " + "".join(f"{name(quality):>14}" for quality in (None, 95, 85, 75)))
    for factor, interpolation in FACTORS + FACTORS_UP:
        changed = [resized(image, factor, interpolation) for image in images]
        cells = []
        for last in (None, 95, 85, 75):
            facts = [facts_of(image, last) for image in changed]
            cells.append(f"{share(facts, is_resized):.2f} / {share(facts, is_upscaled):.2f}")
        print(f"{factor:4} {interpolation:15}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def screenshots(folder: Path) -> None:
    """Print how many screenshots look like one."""
    images = [read_image(path).pixels for path in find_images(folder)]
    print(f"\nScreenshot-like of {len(images)} screenshots")
    for last in (None, 85, 60):
        print(f"{name(last)}: {count([facts_of(image, last) for image in images], is_screen)}")


def detection(folder: Path, model_name: str, number: int) -> None:
    """Print what the model finds in forgeries that were saved once or enlarged, and in authentic images alike."""
    model = load_model(model_name)
    localizer = Localizer(model.network, device=torch.device("cpu"))
    pool = PhotoPool.from_folder(folder, subset="validation")
    authentic = lossless_samples(pool, ForgeConfig(authentic=1, splice=0, copy_move=0, removal=0), number)
    forged = lossless_samples(pool, ForgeConfig(authentic=0), number)
    print(f"\n{model_name}: share flagged at the default threshold of {number} forged / {number} authentic images")
    versions: dict[str, Callable[[Image], Image]] = {name(quality): _saver(quality) for quality in QUALITIES}
    versions |= {f"x {factor}": partial(resized, factor=factor, interpolation="cubic") for factor in (1.5, 2.0)}
    for label, version in versions.items():
        scores = [
            np.array([evidence_score(localizer.localize(version(i)), min_region=model.min_region) for i in images])
            for images in (authentic, forged)
        ]
        flagged = [float((group > model.threshold).mean()) for group in scores]
        print(f"{label:6} {flagged[1]:.2f} / {flagged[0]:.2f}, image AUC {image_auc(*scores):.2f}", flush=True)


def _saver(quality: int | None) -> Callable[[Image], Image]:
    return lambda image: image if quality is None else saved(image, quality)[1]


def lossless_samples(pool: PhotoPool, config: ForgeConfig, number: int) -> list[Image]:
    """Return forged samples that end as a lossless file, so that what is saved here is saved for the first time."""
    forge = Forge(pool, config, seed=77)
    samples = (forge.sample(index) for index in range(100 * number))
    return [sample.image for sample in islice((s for s in samples if s.recipe["ending"]["name"] == "as_is"), number)]


def saved(image: Image, quality: int) -> tuple[bytes, Image]:
    """Return the JPEG file of an image, colour subsampled 4:2:0, and its pixels."""
    step = {"quality": quality, "colour_quality": quality, "subsampling": "4:2:0"}
    content = jpeg_bytes(image, step)
    return content, decode_jpeg(content)


def facts_of(image: Image, last: int | None) -> QualityFacts:
    """Return the facts of an image that is saved as JPEG, or without loss."""
    if last is None:
        return image_quality(b"", image, "PNG")
    content, pixels = saved(image, last)
    return image_quality(content, pixels, "JPEG")


def resized(image: Image, factor: float, interpolation: str) -> Image:
    """Return an image with both sides times the factor."""
    if factor == 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=INTERPOLATIONS[interpolation]), np.uint8)


def name(quality: int | None) -> str:
    """Return how a saving is called in a table."""
    return "none" if quality is None else f"q{quality}"


def count(facts: list[QualityFacts], hint: Callable[[QualityFacts], bool]) -> str:
    """Return how many have a hint, in words."""
    return f"{sum(map(hint, facts))} of {len(facts)}"


def share(facts: Iterable[QualityFacts], hint: Callable[[QualityFacts], bool]) -> float:
    """Return which share has a hint."""
    return statistics.fmean(map(hint, facts))


def has_earlier(facts: QualityFacts) -> bool:
    """Tell whether an earlier JPEG saving is hinted at."""
    return facts.earlier_jpeg_quality is not None


def is_resized(facts: QualityFacts) -> bool:
    """Tell whether resizing is hinted at."""
    return facts.resampling_frequency is not None


def is_upscaled(facts: QualityFacts) -> bool:
    """Tell whether enlargement is hinted at."""
    return facts.upscaled


def is_screen(facts: QualityFacts) -> bool:
    """Tell whether it looks like a screenshot."""
    return facts.screenshot_like


def is_changed(facts: QualityFacts) -> bool:
    """Tell whether its levels were changed."""
    return facts.levels_changed


def is_uniform(facts: QualityFacts) -> bool:
    """Tell whether nearly all of it is without texture."""
    return facts.near_uniform


if __name__ == "__main__":
    main()
