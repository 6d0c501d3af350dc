"""What models, and ways to read them, reach on samples forged from the photos that every run holds back.

    python -m benchmarks.heldout --photos DIR [--models ncl-lite-v9 ncl-lite-v10] [--samples 512] [--variants plain ...]

The samples are those of the default forge: as it makes them, with all of them saved again as JPEG (quality 50 to 90),
with small JPEGs as the web has them for hosts, and with such that were resized once saved (within the forge, by what
it draws; or as finished pictures, by one factor), or cropped off their JPEG grid, or stored as AVIF.
Choices are made by these figures, so that the real sets stay unseen. Variants of reading the same weights:

- plain: the network's scores.
- grid: those of whole blocks on the JPEG grid of the pixels, as a scan has them.
- flips: the mean of the logits over the image and its three mirror images: four times the work.
- copies: joined with what the copy matcher finds, as a scan does it; both-places: without telling copy from original.
- consistency:W: to each cell's logit W times its self-consistency is added: how much nearer its embedding is, over the
  temperature, to the mean embedding of the cells that the network takes for tampered than to that of the others.

f1@fpr5 is the mean f1 at the threshold that flags 5 % of the authentic samples, f1@model that at the model's default
threshold, which flags 5 % of whole photos: larger than the samples, so that fewer of these reach it. Intervals are 95 %
bootstrap intervals of the difference to the first row of the set, resampling the tampered ones (thresholds are kept).
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality_facts import resized, saved
from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.matching.copies import find_copies
from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.intervals import bootstrap_interval
from nclforensics.metrics.pixel import auc, level_counts
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.pivot import PivotNetwork
from nclforensics.networks.weights import DEFAULT_MODEL, load_model
from nclforensics.pipelines.inference import Localizer, with_copies
from nclforensics.pipelines.training_data import SPLIT_SEED
from nclforensics.pipelines.training_step import as_images

SAVED_AGAIN: Final[dict[str, Any]] = {"recompressed": 1.0}
# What differs from the default forge.
WEB: Final[dict[str, Any]] = {"web": 1.0, "camera": 0.0}
SETS: Final[dict[str, dict[str, Any]]] = {
    "forge": {},
    "saved again": SAVED_AGAIN,
    "web": WEB,
    "web, resized": {**WEB, "resized": 1.0},
    "adjusted": {"adjusted": 1.0},
    "AVIF": {"avif": 1.0},
    "web, adjusted": {**WEB, "adjusted": 1.0},
    "web, cropped": WEB,
    "web, cropped and saved": WEB,
    "cropped": {},
    "web, enlarged": WEB,
    "web, enlarged and saved": WEB,
    "web, reduced": WEB,
}
# Of the whole finished picture: the factor, and the JPEG quality that it is saved with after that.
RESIZED: Final[dict[str, tuple[float, int | None]]] = {
    "web, enlarged": (1.3, None),
    "web, enlarged and saved": (1.3, 90),
    "web, reduced": (0.8, None),
}
CROP: Final = np.s_[:, 3:-13, 5:-11]
SAVED_AFTER_CROP: Final = {"web, cropped": None, "web, cropped and saved": 98, "cropped": None}  # JPEG qualities
SEED: Final = 1_000  # of the samples
MIN_REGION: Final = 0.005
RATE: Final = 0.05
TAU: Final = 0.1
FLIPS: Final = ((), (3,), (2,), (2, 3))
BATCH: Final = 16

Reader = Callable[[PivotNetwork, Tensor], Tensor]
Figures = dict[str, NDArray[np.float64]]


def main() -> None:
    """Read every model in every way on every set, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pristine photos")
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL], help="names or folders, as for nclf scan")
    parser.add_argument("--variants", nargs="+", default=["plain"])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--size", type=int, default=ForgeConfig().size, help="side of the samples in pixels")
    parser.add_argument("--validation-share", type=float, default=0.1, help="of the runs that trained the models")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pool = PhotoPool.from_folder(
        arguments.photos, subset="validation", validation_share=arguments.validation_share, seed=SPLIT_SEED
    )
    models = {name: load_model(name) for name in arguments.models}
    columns = "f1@fpr5 | f1@0.5 | pixel AUC | authentic flagged at 0.5 | f1@model | authentic flagged @model"
    print(f"| set | model | read as | {columns} | f1@fpr5, difference |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for set_name in arguments.sets:
        images, masks = drawn(Forge(pool, ForgeConfig(size=arguments.size, **SETS[set_name]), SEED), arguments.samples)
        if set_name in SAVED_AFTER_CROP:
            images, masks = saved_after(images[CROP], SAVED_AFTER_CROP[set_name]), masks[CROP]
        if set_name in RESIZED:
            factor, quality = RESIZED[set_name]
            images, masks = samples_resized(images, masks, factor)
            images = saved_after(images, quality)
        first: Figures | None = None
        for name, model in models.items():
            for variant in arguments.variants:
                maps = read(model.network, images, reader(variant))
                figures = measured(maps, masks, threshold=model.threshold)
                first = first or figures
                print(f"| {set_name} | {name} | {variant} | {cells(figures, first)} |", flush=True)


def drawn(forge: Forge, count: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the first samples of a forge: images (N, S, S, 3) and masks (N, S, S)."""
    samples = [forge.sample(index) for index in range(count)]
    return np.stack([sample.image for sample in samples]), np.stack([sample.mask for sample in samples])


def samples_resized(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], factor: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images and masks enlarged (cubic) or reduced (by area)."""
    how = "cubic" if factor > 1 else "area"
    levels = np.stack([resized(mask.astype(np.uint8) * 255, factor, "area") for mask in masks])
    return np.stack([resized(image, factor, how) for image in images]), levels > 127  # noqa: PLR2004 - half of a pixel


def saved_after(images: NDArray[np.uint8], quality: int | None) -> NDArray[np.uint8]:
    """Return images after a JPEG saving, 4:2:0; as they are without a quality."""
    return images if quality is None else np.stack([saved(image, quality)[1] for image in images])


@torch.inference_mode()
def read(network: PivotNetwork, images: NDArray[np.uint8], reader: Reader) -> NDArray[np.float32]:
    """Return score maps (N, S, S) of images."""
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2)
        parts.append(torch.sigmoid(reader(network, as_images(pixels, torch.device("cpu")))))
    scores: NDArray[np.float32] = torch.cat(parts).squeeze(1).numpy()
    return scores


def reader(variant: str) -> Reader:
    """Return the function that gives logits (B, 1, H, W) of images.

    Raises:
        SystemExit: If there is no such variant.
    """
    name, _, weight = variant.partition(":")
    if name == "consistency":
        return lambda network, images: with_consistency(network, images, float(weight))
    readers: dict[str, Reader] = {
        "plain": lambda network, images: network(images).score_logits,
        "grid": on_grid,
        "flips": flipped,
        "copies": lambda network, images: with_matches(network, images, told=True),
        "both-places": lambda network, images: with_matches(network, images, told=False),
    }
    if name not in readers:
        raise SystemExit(f"Expected {', '.join(readers)} or consistency:W as a variant, found {variant}.")
    return readers[name]


def on_grid(network: PivotNetwork, images: Tensor) -> Tensor:
    """Return the logits that a scan has, without the copies."""
    alone = copy.copy(network)
    alone.copy_matcher, alone.block_grid = False, True
    localizer = Localizer(alone, device=torch.device("cpu"))
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return torch.from_numpy(np.stack([localizer.localize(image) for image in pixels]))[:, None].logit()


def with_matches(network: PivotNetwork, images: Tensor, *, told: bool) -> Tensor:
    """Return the logits after the copies that the matcher finds are raised."""
    score_maps: Tensor = network(images).score_logits.sigmoid()
    for image, score_map in zip(images, score_maps, strict=True):
        pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        scores = score_map[0].numpy()
        with_copies(scores, find_copies(pixels, scores=scores if told else None))
    return score_maps.logit()


def flipped(network: PivotNetwork, images: Tensor) -> Tensor:
    """Return the mean logits over the mirror images."""
    logits = [network(images.flip(axes)).score_logits.flip(axes) for axes in FLIPS]
    return torch.stack(logits).mean(0)


def with_consistency(network: PivotNetwork, images: Tensor, weight: float) -> Tensor:
    """Return the logits with the embeddings' self-consistency added."""
    output = network(images)
    embeddings = F.normalize(output.embeddings_plus + output.embeddings_minus, dim=1)  # (B, D, h, w)
    scores = torch.sigmoid(output.cell_logits)  # (B, 1, h, w)
    tampered = F.normalize((scores * embeddings).sum((2, 3), keepdim=True), dim=1)
    authentic = F.normalize(((1 - scores) * embeddings).sum((2, 3), keepdim=True), dim=1)
    nearer = ((tampered - authentic) * embeddings).sum(1, keepdim=True) / TAU
    size = list(output.logits.shape[-2:])
    added = F.interpolate(nearer, size=size, mode="bilinear", align_corners=False)
    return network.score_logits(output.logits + weight * added, output.image_logit)


def measured(maps: NDArray[np.float32], masks: NDArray[np.bool_], *, threshold: float) -> Figures:
    """Return each figure's values: f1 and AUC of every tampered sample, whether an authentic one is flagged.

    Args:
        maps: Score maps (N, S, S).
        masks: Ground truth (N, S, S).
        threshold: The model's.
    """
    forged = masks.any((1, 2))
    evidence = [evidence_score(scores, min_region=MIN_REGION) for scores in maps[~forged]]
    at_rate = threshold_at_rate(evidence, rate=RATE)
    pairs = list(zip(maps[forged], masks[forged], strict=True))

    def f1(at: float) -> NDArray[np.float64]:
        return np.array([confusion_at(scores, mask, threshold=at).f1 for scores, mask in pairs])

    areas = [auc(level_counts(scores, mask)) for scores, mask in pairs]
    return {
        "f1@fpr5": f1(at_rate),
        "f1@0.5": f1(0.5),
        "auc": np.array([area for area in areas if area is not None]),
        "flagged": np.array([score > 0.5 for score in evidence], dtype=float),  # noqa: PLR2004 - the column's name
        "f1@model": f1(threshold),
        "flagged@model": np.array([score > threshold for score in evidence], dtype=float),
    }


def cells(figures: Figures, first: Figures) -> str:
    """Return the figures' means, and the interval of the headline's difference to the first row."""
    difference = figures["f1@fpr5"] - first["f1@fpr5"]
    low, high = bootstrap_interval([difference.tolist()], np.mean, resamples=1000, seed=0) or (0.0, 0.0)
    means = " | ".join(f"{values.mean():.3f}" for values in figures.values())
    return f"{means} | {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
