"""An image head is fitted to what scans see; nothing else of the model changes, and an interrupted run goes on."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nclforensics.config import ForgeConfig, TrainConfig, dump_config
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.networks.image_head import ImageHead
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.calibrate import calibrate
from nclforensics.pipelines.inference import Localizer
from scripts import average_models, fit_image_head
from scripts.fit_image_head import chunks, fit
from tests.photo_folders import make_photo_folder
from tests.tiny_model import TINY_CONFIG, make_network, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.results import Calibration

CHANNELS = 3
SAMPLES = 6


def make_sums(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums in which forged samples have larger features inside of the suspected cells, and their labels."""
    generator = torch.Generator().manual_seed(0)
    forged = (torch.rand(count, generator=generator) < 0.5).float()
    cells = torch.randn(count, CHANNELS, 20, generator=generator)
    logits = torch.full((count, 1, 20), -3.0)
    logits[..., :5] = 1.0
    cells[..., :5] += 2 * forged[:, None, None]
    head = ImageHead(CHANNELS, bias=0.0, leak=0.1)
    return head.sums(cells[..., None], logits[..., None]), forged


def test_a_fitted_head_tells_forged_from_authentic() -> None:
    """On samples that it was not fitted on."""
    torch.manual_seed(0)
    head = ImageHead(CHANNELS, bias=0.0, leak=0.1)
    sums, forged = make_sums(2000)
    before = torch.nn.functional.binary_cross_entropy_with_logits(head(sums[1500:]), forged[1500:])
    loss = fit(head, sums[:1500], forged[:1500], seed=0)
    after = torch.nn.functional.binary_cross_entropy_with_logits(head(sums[1500:]), forged[1500:])
    assert after < 0.7 * before
    assert loss == pytest.approx(after.item(), abs=0.15)


def test_the_same_seed_fits_the_same_head() -> None:
    """To the last digit."""
    sums, forged = make_sums(200)
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        head = ImageHead(CHANNELS, bias=0.0, leak=0.1)
        fit(head, sums, forged, seed=seed)
        states.append(torch.cat([value.flatten() for value in head.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def call(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run the script on tiny data."""
    command = [
        "fit",
        str(folder / "initial"),
        "--config",
        str(folder / "head.toml"),
        "--photos",
        str(folder / "photos"),
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(folder / "out"), "--samples", f"64:{SAMPLES}", "96:2"])
    monkeypatch.setattr(fit_image_head, "CHUNK", 4)
    fit_image_head.main()


def test_the_labels_say_which_samples_are_forged(tmp_path: Path) -> None:
    """As their masks do."""
    pool = PhotoPool.from_folder(make_photo_folder(tmp_path / "photos", count=6))
    forge = Forge(pool, ForgeConfig(size=64, authentic=0.5), 3)
    localizer = Localizer(make_network(), device=torch.device("cpu"))
    (chunk,) = chunks(localizer, forge, SAMPLES, tmp_path / "sums")
    expected = [float(forge.sample(index).mask.any()) for index in range(SAMPLES)]
    assert chunk["forged"].tolist() == expected
    assert 0 < sum(expected) < SAMPLES
    for index in range(SAMPLES):
        assert torch.equal(chunk["sums"][index], localizer.image_sums(forge.sample(index).image)[0])


def test_an_interrupted_fit_goes_on_and_changes_the_head_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums on disk are read; the model is calibrated, its configuration names no folder of this machine."""
    make_photo_folder(tmp_path / "photos", count=12)
    initial = write_model(tmp_path / "initial")
    train = TrainConfig(validation_share=0.3, seed=3)
    shape = replace(TINY_CONFIG.model, copy_matcher=True)
    config = replace(TINY_CONFIG, model=shape, train=train, forge=ForgeConfig(size=64, authentic=0.5))
    (tmp_path / "head.toml").write_text(dump_config(config))
    read, calls = Localizer.image_sums, []

    def interrupted(localizer: Localizer, image: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == SAMPLES:
            raise KeyboardInterrupt
        return read(localizer, image)  # type: ignore[arg-type]

    monkeypatch.setattr(Localizer, "image_sums", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call(monkeypatch, tmp_path)
    matched = []

    def watched(localizer: Localizer, *images: Any, **settings: Any) -> Calibration:  # noqa: ANN401 - handed on
        matched.append(localizer.network.copy_matcher)
        return calibrate(localizer, *images, **settings)

    monkeypatch.setattr(average_models, "calibrate", watched)
    call(monkeypatch, tmp_path)
    assert matched == [True]  # calibrated as it is used
    assert len(calls) == SAMPLES + (SAMPLES - 4) + 2  # the first four are not computed again
    before, after = load_model(initial), load_model(tmp_path / "out")
    assert after.network.copy_matcher
    assert after.calibration.authentic > 0
    assert after.manifest["training"]["image_head_samples"] == SAMPLES + 2
    assert str(tmp_path) not in (tmp_path / "out" / "config.toml").read_text()
    for name, value in after.network.state_dict().items():
        changed = not torch.equal(value, before.network.state_dict()[name])
        assert changed == name.startswith("image_head.score")
