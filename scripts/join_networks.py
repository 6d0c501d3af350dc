"""Make one model of two networks: one for all pictures, and one for those whose every block shows a JPEG saving.

    python -m scripts.join_networks MODEL --low-quality A [B ...] --up-to QUALITY --photos DIR --out DIR

MODEL is the model for all pictures; A, B ... were trained from it, or from what it was trained from, on pictures that
were saved once more: the mean of their weights becomes the second network (see scripts/average_models.py). Matrices and
filters of both are rounded to half precision, so that two networks take the space of one. 5 % of the held-out authentic
photos that the second network reads reach another score than 5 % of the others: its scores are shifted by the
difference, as logits, so that one threshold stands for both. Calibration and --out are as in scripts/average_models.py.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nclforensics.config import load_config
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import CONFIG_FILE, DEFAULT_RATE, find_model, load_model
from nclforensics.pipelines.calibrate import MIN_REGION, calibration_images
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import open_sources
from scripts.average_models import averaged, calibrate_and_save, with_photos

if TYPE_CHECKING:
    from nclforensics.config import RunConfig
    from nclforensics.networks.pivot import PivotNetwork


def main() -> None:
    """Join, align, calibrate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as for nclf scan --weights; its configuration and matcher are kept")
    parser.add_argument("--low-quality", nargs="+", required=True, metavar="MODEL")
    parser.add_argument("--up-to", type=int, required=True, metavar="QUALITY")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    first, others = load_model(arguments.model), [load_model(spec) for spec in arguments.low_quality]
    trained = load_config(find_model(arguments.model) / CONFIG_FILE)
    config = dataclasses.replace(trained, model=dataclasses.replace(first.config, low_quality=arguments.up_to))
    network = joined(first.network, averaged(others), config)
    shift = difference(network, config, arguments.photos)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, low_quality_shift=shift))
    assert network.low_quality is not None
    network.low_quality.score_shift = shift
    training = {
        **first.manifest["training"],
        "joined_sha256": [first.sha256, *(model.sha256 for model in others)],
    }
    calibrate_and_save(network, config, arguments.photos, arguments.out, training=training)


def joined(first: PivotNetwork, second: PivotNetwork, config: RunConfig) -> PivotNetwork:
    """Return a network of the configuration with both ones' weights, rounded, in eval mode."""
    network = build_network(config.model)
    assert network.low_quality is not None
    network.load_state_dict(first.state_dict(), strict=False)
    network.low_quality.load_state_dict(second.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
    return network.eval()


def difference(network: PivotNetwork, config: RunConfig, photos: Path) -> float:
    """Return by how much the score that 5 % of the authentic images reach is higher, as a logit, with the second one.

    Args:
        network: Has a second one; the copy matcher is left out.
        config: Names the photos that are held back.
        photos: Folder that was trained on.
    """
    alone = copy.copy(network)
    alone.copy_matcher = False
    localizer = Localizer(alone, device=select_device("auto"))
    scores: dict[bool, list[float]] = {True: [], False: []}
    authentic = open_sources(with_photos(config, photos)).authentic()
    for image in calibration_images(authentic, seed=config.train.seed):
        found = localizer.localize_with_copies(image)
        scores[found.saving is not None].append(evidence_score(found.score_map, min_region=MIN_REGION))
        print(f"\raligned on {sum(map(len, scores.values()))} images", end="", file=sys.stderr, flush=True)
    second, first = (_logit(threshold_at_rate(scores[kind], rate=DEFAULT_RATE)) for kind in (True, False))
    print(f"\nsecond network: {len(scores[True])} images, {second:.3f}; others: {len(scores[False])}, {first:.3f}")
    return second - first


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


if __name__ == "__main__":
    main()
