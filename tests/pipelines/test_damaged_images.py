"""Images of a data set that cannot be read when they are needed: a training goes on without them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from nclforensics.config import ForgeConfig, RunConfig, TrainConfig
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.training_data import PairSamples, batches, open_sources
from tests.factories import make_image, make_mask
from tests.tiny_model import TINY_CONFIG

if TYPE_CHECKING:
    from pathlib import Path


def write_set(folder: Path, count: int) -> list[ImagePair]:
    """Write a data set with manifest: every third image is authentic."""
    folder.mkdir()
    pairs, rows = [], ["image,mask,authentic"]
    for number in range(count):
        authentic = number % 3 == 0
        image, mask = folder / f"{number:02}.png", folder / f"{number:02}_mask.png"
        cv2.imwrite(str(image), make_image(64, 64, seed=number))
        if not authentic:
            cv2.imwrite(str(mask), make_mask(64, 64, box=(8, 8, 40, 40)).astype(np.uint8) * 255)
        pairs.append(ImagePair(image, None if authentic else mask, authentic=authentic))
        rows.append(f"{image.name},{'' if authentic else mask.name},{int(authentic)}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return pairs


def cut_short(path: Path) -> None:
    """Damage an image so that its header is whole."""
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_next_image_is_taken(tmp_path: Path, workers: int) -> None:
    """The others' samples are what they were, and the damaged one is known in the training process."""
    samples = PairSamples(write_set(tmp_path / "set", 6), size=64, seed=0)
    before = next(batches(samples, batch_size=6, first=0, workers=0)).image
    order = [int(np.argmax([torch.equal(before[at], alone(pair, at)) for pair in samples.pairs])) for at in range(6)]
    cut_short(samples.pairs[order[2]].image)

    after = next(batches(samples, batch_size=6, first=0, workers=workers)).image

    others = [0, 1, 3, 4, 5]
    assert torch.equal(before[others], after[others])
    assert torch.equal(after[2].flip(-1), after[3]) or torch.equal(after[2], after[3])
    assert samples.damaged == [samples.pairs[order[2]].image]


def alone(pair: ImagePair, at: int) -> torch.Tensor:
    """Return the image of a pair as sample `at` would show it, mirrored or not."""
    twins = PairSamples([pair] * 6, size=64, seed=0)
    return twins[at].image


@pytest.mark.parametrize("workers", [0, 1])
def test_set_that_is_gone_ends_the_run_in_one_sentence(tmp_path: Path, workers: int) -> None:
    """A disk that was unplugged: no endless search, and no traceback of a worker process in the message."""
    samples = PairSamples(write_set(tmp_path / "set", 3), size=64, seed=0)
    for pair in samples.pairs:
        pair.image.unlink()

    with pytest.raises(DatasetError) as caught:
        next(batches(samples, batch_size=2, first=0, workers=workers))

    assert str(caught.value).startswith("Not one of 3 images can be read any more")
    assert "\n" not in str(caught.value)


def test_damaged_authentic_images_calibrate_nothing(tmp_path: Path) -> None:
    """The end of a run is no place to fail; the sources name them."""
    write_set(tmp_path / "set", 30)
    train = TrainConfig(dataset=str(tmp_path / "set"), validation_share=0.4)
    sources = open_sources(RunConfig(forge=ForgeConfig(size=64), train=train))
    assert isinstance(sources.validation, PairSamples)
    held_out = [pair.image for pair in sources.validation.pairs if pair.authentic]
    cut_short(held_out[0])

    assert len(list(sources.authentic())) == len(held_out) - 1
    assert sources.damaged() == held_out[:1]


def test_a_run_goes_on_and_names_a_damaged_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage that the check of the set, which decodes only some images, has not seen."""
    write_set(tmp_path / "set", 30)
    train = TrainConfig(dataset=str(tmp_path / "set"), out=str(tmp_path / "run"), steps=10, batch_size=6, workers=1)
    train = replace(train, validation_share=0.4, validation_samples=12, validate_every=0, device="cpu")
    config = replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=train)
    sources = open_sources(config)
    assert isinstance(sources.train, PairSamples)
    assert isinstance(sources.validation, PairSamples)
    damaged = [
        next(pair.image for pair in part.pairs if pair.authentic) for part in (sources.train, sources.validation)
    ]
    for path in damaged:
        cut_short(path)
    monkeypatch.setattr("nclforensics.pipelines.train.open_sources", lambda _config: sources)
    heard: list[str] = []

    summary = run_training(config, note=heard.append)

    assert summary.state.step == 10
    assert [sum(str(path) in message for message in heard) for path in damaged] == [1, 1]
