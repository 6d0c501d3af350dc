"""Make one model of two: the mean of their weights, with the copy matcher if asked for, calibrated anew.

    python scripts/average_models.py A B --photos DIR --out DIR [--copy-matcher]

A and B are models as for `nclf scan --weights`, of one architecture, the second trained from the first (`initial`):
then the mean of both is often better than either (Wortsman et al., "Model soups", ICML 2022). What A
lacks, such as a stream that B was given, is B's. DIR of --photos is the folder that both were trained on; the
calibration uses the photos that both held out. --out gets a model folder without a card; its name becomes the model's.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nclforensics.config import RunConfig, load_config
from nclforensics.networks.weights import CONFIG_FILE, find_model, load_model, save_model
from nclforensics.pipelines.calibrate import calibrate
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import open_sources

if TYPE_CHECKING:
    from nclforensics.networks.pivot import PivotNetwork
    from nclforensics.networks.weights import LoadedModel


def main() -> None:
    """Average, calibrate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("second", help="trained from the first; its configuration becomes the model's")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copy-matcher", action="store_true", help="join the copies that are found within an image")
    arguments = parser.parse_args()
    first, second = (load_model(spec) for spec in (arguments.first, arguments.second))
    network = averaged(first, second)
    network.copy_matcher = arguments.copy_matcher
    trained = load_config(find_model(arguments.second) / CONFIG_FILE)
    config = with_photos(trained, arguments.photos)
    sources = open_sources(config)
    calibration = calibrate(
        Localizer(network, device=select_device("auto")),
        sources.authentic(),
        seed=config.train.seed,
        report=lambda done: print(f"\rcalibrated on {done} images", end="", file=sys.stderr, flush=True),
    )
    training = {**second.manifest["training"], "averaged_sha256": [first.sha256, second.sha256]}
    model = dataclasses.replace(trained.model, copy_matcher=arguments.copy_matcher)
    shipped = with_photos(dataclasses.replace(trained, model=model), Path("photos"))  # no folder of this machine
    name = arguments.out.resolve().name
    sha256 = save_model(arguments.out, network, shipped, name=name, calibration=calibration, training=training)
    print(f"\n{name} {sha256}: {dict(zip(calibration.false_positive_rates, calibration.thresholds, strict=True))}")


def averaged(first: LoadedModel, second: LoadedModel) -> PivotNetwork:
    """Return a network with the mean of both models' weights and statistics, in eval mode."""
    others = first.network.state_dict()
    mean = {}
    for name, value in second.network.state_dict().items():
        half = (value.double() + others.get(name, value).double()) / 2
        mean[name] = half.to(value.dtype) if value.is_floating_point() else value
    second.network.load_state_dict(mean)
    return second.network


def with_photos(config: RunConfig, photos: Path) -> RunConfig:
    """Return a run's configuration with another folder of photos."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, photos=str(photos)))


if __name__ == "__main__":
    main()
