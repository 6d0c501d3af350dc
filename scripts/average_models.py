"""Make one model of several: the mean of their weights, with the copy matcher if asked for, calibrated anew.

    python scripts/average_models.py A B [...] --photos DIR --out DIR [--copy-matcher]

They are models as for `nclf scan --weights`, of one lineage: each trained from the first, or from what the first was
trained from (`initial`). Then the mean is often better than each (Wortsman et al., "Model soups", ICML 2022). What one
lacks, such as a stream that others were given, is the mean of the others. DIR of --photos is the folder that all were
trained on; the calibration uses the photos that all held out. --out gets a model folder without a card; its name
becomes the model's.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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
    parser.add_argument("models", nargs="+", help="the configuration of the last becomes the model's")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copy-matcher", action="store_true", help="join the copies that are found within an image")
    arguments = parser.parse_args()
    models = [load_model(spec) for spec in arguments.models]
    trained = load_config(find_model(arguments.models[-1]) / CONFIG_FILE)
    model = dataclasses.replace(trained.model, copy_matcher=arguments.copy_matcher)
    training = {**models[-1].manifest["training"], "averaged_sha256": [model.sha256 for model in models]}
    config = dataclasses.replace(trained, model=model)
    calibrate_and_save(averaged(models), config, arguments.photos, arguments.out, training=training)


def averaged(models: list[LoadedModel]) -> PivotNetwork:
    """Return the last model's network with the mean of all models' weights and statistics, in eval mode."""
    network = models[-1].network
    states = [model.network.state_dict() for model in models]
    mean = {}
    for name, value in network.state_dict().items():
        values = torch.stack([state[name].double() for state in states if name in state])
        mean[name] = values.mean(0).to(value.dtype) if value.is_floating_point() else value
    network.load_state_dict(mean)
    return network


def calibrate_and_save(
    network: PivotNetwork, config: RunConfig, photos: Path, out: Path, *, training: dict[str, Any]
) -> None:
    """Calibrate a network on the photos that its configuration holds back, and write its model folder.

    Args:
        network: Gets the configuration's `copy_matcher`.
        config: Saved with the model.
        photos: Folder that was trained on.
        out: The model's folder and name.
        training: What the manifest says of it.
    """
    network.copy_matcher = config.model.copy_matcher
    calibration = calibrate(
        Localizer(network, device=select_device("auto")),
        open_sources(with_photos(config, photos)).authentic(),
        seed=config.train.seed,
        report=lambda done: print(f"\rcalibrated on {done} images", end="", file=sys.stderr, flush=True),
    )
    shipped = with_photos(config, Path("photos"))  # no folder of this machine
    name = out.resolve().name
    sha256 = save_model(out, network, shipped, name=name, calibration=calibration, training=training)
    print(f"\n{name} {sha256}: {dict(zip(calibration.false_positive_rates, calibration.thresholds, strict=True))}")


def with_photos(config: RunConfig, photos: Path) -> RunConfig:
    """Return a run's configuration with another folder of photos."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, photos=str(photos)))


if __name__ == "__main__":
    main()
