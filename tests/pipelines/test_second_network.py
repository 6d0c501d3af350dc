"""A model with a second network: which pictures it reads, and how it is built, saved, loaded and told about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from nclforensics.config import ModelConfig, RunConfig, ScanConfig, TrainConfig
from nclforensics.errors import ConfigError
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import load_model, save_model
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from nclforensics.pipelines.trainer import initial_network
from nclforensics.results import ScanFinding
from tests.textures import make_texture, saved
from tests.tiny_model import TINY_CONFIG, make_calibration, make_network

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.networks.pivot import PivotNetwork

CPU = torch.device("cpu")
LIMIT = 80
TWO_NETWORKS = replace(TINY_CONFIG.model, low_quality=LIMIT)


def _two_networks() -> PivotNetwork:
    """Return a network that has a second one, with other weights."""
    network = build_network(TWO_NETWORKS)
    assert network.low_quality is not None
    network.load_state_dict(make_network(seed=0).state_dict(), strict=False)
    network.low_quality.load_state_dict(make_network(seed=1).state_dict())
    return network.eval()


def _write(network: PivotNetwork, folder: Path) -> None:
    """Save it as a model."""
    config, calibration = replace(TINY_CONFIG, model=TWO_NETWORKS), make_calibration()
    save_model(folder, network, config, name="two", calibration=calibration, training={"source": "none"})


def _score_map(seed: int, image: np.ndarray) -> np.ndarray:
    return Localizer(make_network(seed=seed), device=CPU).localize(image)


@pytest.mark.parametrize(("quality", "second"), [(70, True), (LIMIT - 2, True), (88, False), (None, False)])
def test_the_second_network_reads_what_was_saved_as_a_whole(quality: int | None, *, second: bool) -> None:
    """At the limit or below; of any other picture the score map is what it was without a second network."""
    texture = make_texture(200, 264)
    image = texture if quality is None else saved(texture, quality)
    localization = Localizer(_two_networks(), device=CPU).localize_with_copies(image)
    assert np.array_equal(localization.score_map, _score_map(1 if second else 0, image))
    assert (localization.saving is not None) == second
    if second:
        assert quality is not None
        assert localization.saving is not None
        assert abs(localization.saving - quality) <= 2


def test_its_scores_are_shifted() -> None:
    """As logits; those of the first network are not."""
    network = build_network(replace(TWO_NETWORKS, low_quality_shift=1.5)).eval()
    network.load_state_dict(_two_networks().state_dict())
    for quality, shift in ((70, 1.5), (95, 0.0)):
        image = saved(make_texture(200, 264), quality)
        shifted, plain = (Localizer(each, device=CPU).localize(image) for each in (network, _two_networks()))
        logits = [np.log(scores / (1 - scores)) for scores in (shifted.astype(float), plain.astype(float))]
        assert np.abs(logits[0] + shift - logits[1]).max() < 1e-3


def test_what_was_pasted_afterwards_is_for_the_first_network() -> None:
    """The saving says nothing of what came after it."""
    image = saved(make_texture(200, 264), 70)
    image[80:130, 90:150] = make_texture(50, 60, seed=1)
    localization = Localizer(_two_networks(), device=CPU).localize_with_copies(image)
    assert localization.saving is None
    assert np.array_equal(localization.score_map, _score_map(0, image))


def test_the_grid_is_that_of_the_picture() -> None:
    """A picture that was cropped after its saving shows it too."""
    image = np.ascontiguousarray(saved(make_texture(), 70)[3:, 5:])
    localization = Localizer(_two_networks(), device=CPU).localize_with_copies(image)
    assert localization.saving is not None
    assert np.array_equal(localization.score_map, _score_map(1, image))


def test_a_resized_picture_is_for_the_first_network() -> None:
    """The second one was trained on none."""
    image = np.asarray(cv2.resize(saved(make_texture(), 75), (480, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    localization = Localizer(_two_networks(), device=CPU).localize_with_copies(image)
    assert localization.grid.resized
    assert localization.saving is None
    assert np.array_equal(localization.score_map, _score_map(0, image))


def test_both_networks_are_in_one_file(tmp_path: Path) -> None:
    """Saved and loaded they give the same scores; half precision is used where it is exact, and only there."""
    network = _two_networks()
    assert network.low_quality is not None
    with torch.no_grad():
        for parameter in network.low_quality.parameters():
            parameter.copy_(parameter.half().float())
    _write(network, tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.network.low_quality_limit == LIMIT
    assert loaded.network.low_quality is not None
    assert loaded.network.low_quality.calibrated_pixels == make_calibration().largest_pixels
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name
    one = sum(p.numel() for p in make_network().parameters())
    assert 6 * one < (tmp_path / "m" / "weights.safetensors").stat().st_size < 6.9 * one
    for quality in (70, 95):
        image = saved(make_texture(200, 264), quality)
        expected = Localizer(network, device=CPU).localize(image)
        assert np.array_equal(Localizer(loaded.network, device=CPU).localize(image), expected)


def test_a_scan_says_which_network_read_an_image(tmp_path: Path) -> None:
    """In the notes of its record."""
    _write(_two_networks(), tmp_path / "m")
    for quality in (70, 95):
        cv2.imwrite(str(tmp_path / f"{quality}.png"), saved(make_texture(200, 264), quality))
    plan = plan_scan([tmp_path / "70.png", tmp_path / "95.png"], out=tmp_path / "out")
    notes = {}
    for finding in scan_images(plan, load_model(tmp_path / "m"), ScanConfig(device="cpu")):
        assert isinstance(finding, ScanFinding)
        notes[finding.path.rsplit("/", 1)[-1]] = finding.notes
    said = "Every block shows a JPEG saving at quality 70 or so: read by the model's network for such pictures"
    assert notes == {"70.png": (said,), "95.png": ()}


def test_networks_are_trained_one_by_one(tmp_path: Path) -> None:
    """A run has one; it may start from the first one of a model that has two."""
    with pytest.raises(ConfigError, match="low_quality = 0"):
        initial_network(RunConfig(model=ModelConfig(low_quality=LIMIT)))
    _write(_two_networks(), tmp_path / "m")
    network = initial_network(replace(TINY_CONFIG, train=TrainConfig(initial=str(tmp_path / "m"))))
    assert network.low_quality is None
    for name, tensor in make_network(seed=0).state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
