"""Two networks become one model: rounded, aligned, calibrated, and each reads what it is for."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from nclforensics.config import ForgeConfig, TrainConfig
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.regions import evidence_score
from nclforensics.networks.weights import load_model, save_model
from nclforensics.pipelines.calibrate import MIN_REGION, calibration_images
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import open_sources
from scripts import join_networks
from scripts.average_models import averaged
from tests.photo_folders import write_photo
from tests.textures import make_texture
from tests.tiny_model import TINY_CONFIG, make_calibration, make_network

if TYPE_CHECKING:
    from pathlib import Path

UP_TO = 85


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with photos, three models, and in "out" what they were joined to."""
    for number in range(24):
        write_photo(tmp_path / "photos" / f"{number}.png", make_texture(136, 168, seed=number))
    config = replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=TrainConfig(validation_share=0.5, seed=3))
    for name, seed in (("first", 0), ("a", 1), ("b", 2)):
        network, calibration = make_network(seed=seed), make_calibration()
        save_model(tmp_path / name, network, config, name=name, calibration=calibration, training={"source": "none"})
    paths = [str(tmp_path / name) for name in ("first", "a", "b", "photos", "out")]
    command = ["join", paths[0], "--low-quality", *paths[1:3], "--up-to", str(UP_TO)]
    monkeypatch.setattr(sys, "argv", [*command, "--photos", paths[3], "--out", paths[4]])
    join_networks.main()
    return tmp_path


def test_the_joined_model_holds_both(folder: Path) -> None:
    """Their numbers, rounded to half precision where they are filters."""
    out, first = load_model(folder / "out"), load_model(folder / "first")
    second = averaged([load_model(folder / name) for name in ("a", "b")])
    assert out.network.low_quality is not None
    assert replace(out.config, low_quality_shift=0.0) == replace(first.config, low_quality=UP_TO)
    assert len(out.manifest["training"]["joined_sha256"]) == 3
    assert str(folder) not in (folder / "out" / "config.toml").read_text()
    for joined, single in ((out.network, first.network), (out.network.low_quality, second)):
        names = dict(single.named_parameters())
        for name, value in single.state_dict().items():
            expected = value.half().float() if name in names and value.ndim > 1 else value
            assert torch.equal(joined.state_dict()[name], expected), name


def test_one_threshold_stands_for_both(folder: Path) -> None:
    """As many authentic images of either kind reach it."""
    model = load_model(folder / "out")
    train = TrainConfig(photos=str(folder / "photos"), validation_share=0.5, seed=3)
    sources = open_sources(replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=train))
    localizer = Localizer(model.network, device=torch.device("cpu"))
    groups: dict[bool, list[float]] = {True: [], False: []}
    for image in calibration_images(sources.authentic(), seed=3):
        found = localizer.localize_with_copies(image)
        groups[found.saving is not None].append(evidence_score(found.score_map, min_region=MIN_REGION))
    assert min(map(len, groups.values())) >= 5
    first, second = (threshold_at_rate(groups[kind], rate=0.05) for kind in (False, True))
    assert second == pytest.approx(first, rel=1e-3)
    assert abs(model.config.low_quality_shift) > 0.1
