"""Samples from pairs on disk: crops, padding, splits and refusals."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from nclforensics.config import ForgeConfig, RunConfig, TrainConfig
from nclforensics.data.images import read_image, read_mask
from nclforensics.data.manifest import ImagePair, write_manifest
from nclforensics.errors import ConfigError, DatasetError
from nclforensics.pipelines.training_data import ForgeSamples, PairSamples, TrainingSample, batches, open_sources
from tests.data.loaders.miniatures import masks, photos
from tests.factories import make_image, make_mask
from tests.photo_folders import make_photo_folder
from tests.planted_sets import planted_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nclforensics.pipelines.training_data import TrainingSources


def write_pair(folder: Path, name: str, *, height: int = 96, width: int = 120, authentic: bool = False) -> ImagePair:
    """Write an image, and a mask unless it is authentic."""
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = folder / f"{name}.png", folder / f"{name}_mask.png"
    cv2.imwrite(str(image), make_image(height, width, seed=len(name)))
    if authentic:
        return ImagePair(image, None, authentic=True)
    cv2.imwrite(str(mask), make_mask(height, width, box=(40, 60, 56, 80)).astype(np.uint8) * 255)
    return ImagePair(image, mask, authentic=False)


def write_set(folder: Path, count: int = 30) -> list[ImagePair]:
    """Write a data set with manifest: every third image is authentic."""
    pairs = [write_pair(folder, f"image{number:02}", authentic=number % 3 == 0) for number in range(count)]
    rows = [f"{p.image.name},{p.mask.name if p.mask else ''},{int(p.authentic)}" for p in pairs]
    (folder / "manifest.csv").write_text("image,mask,authentic\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return pairs


def grouped_sources(folder: Path, group: Callable[[int], str]) -> TrainingSources:
    """Open a set of 60 images, half of it held out, whose image of that number has that group."""
    pairs = [replace(pair, group=group(number)) for number, pair in enumerate(write_set(folder, count=60))]
    write_manifest(pairs, folder / "manifest.csv")
    return open_sources(run_config(folder, validation_share=0.5))


def parts(sources: TrainingSources) -> tuple[list[ImagePair], list[ImagePair]]:
    """Return the pairs that are trained on and those that are held out."""
    assert isinstance(sources.train, PairSamples)
    assert isinstance(sources.validation, PairSamples)
    return sources.train.pairs, sources.validation.pairs


def run_config(folder: Path, **train: float | str) -> RunConfig:
    """Return a configuration that trains on a data set with crops of 64 pixels."""
    return RunConfig(forge=ForgeConfig(size=64), train=TrainConfig(**{"dataset": str(folder), **train}))  # type: ignore[arg-type]


def test_crop_is_cut_from_the_grid_with_its_mask(tmp_path: Path) -> None:
    """Every crop is a window of the image, possibly mirrored, at a multiple of 8, with the same window of the mask."""
    pair = write_pair(tmp_path, "a")
    assert pair.mask is not None
    image, mask = read_image(pair.image).pixels, read_mask(pair.mask)
    windows = []
    for top in range(0, 33, 8):
        for left in range(0, 57, 8):
            window = image[top : top + 64, left : left + 64], mask[top : top + 64, left : left + 64]
            windows += [window, (window[0][:, ::-1], window[1][:, ::-1])]
    samples = PairSamples([pair], size=64, seed=0)

    for index in range(10):
        crop = samples[index]
        pixels = crop.image.permute(1, 2, 0).numpy()
        matches = [m for i, m in windows if np.array_equal(i, pixels)]
        assert any(np.array_equal(m, crop.mask.numpy()) for m in matches)


def test_most_crops_of_a_tampered_image_contain_tampered_pixels(tmp_path: Path) -> None:
    """A small region in a large image is not missed by most crops."""
    pair = write_pair(tmp_path, "a", height=400, width=400)
    samples = PairSamples([pair], size=64, seed=0)

    hits = sum(bool(samples[index].mask.any()) for index in range(40))

    assert hits >= 24


def test_small_image_is_padded_and_the_padding_is_not_valid(tmp_path: Path) -> None:
    """An image of 96 x 40 pixels gives a crop of 64 x 64, of which 24 columns do not count."""
    samples = PairSamples([write_pair(tmp_path, "a", width=40, authentic=True)], size=64, seed=0)

    crop = samples[0]

    assert crop.image.shape == (3, 64, 64)
    assert int(crop.valid.sum()) == 64 * 40
    assert not crop.mask[~crop.valid].any()


def test_focused_crops_always_contain_tampered_pixels(tmp_path: Path) -> None:
    """A region of 10 x 10 pixels, anywhere on the grid, is in all crops that were placed for it: three of four."""
    image, mask = make_image(200, 200), make_mask(200, 200, box=(93, 107, 103, 117))
    samples = PairSamples([ImagePair(tmp_path, None, authentic=False)], size=64, seed=0)
    corners = [samples._corner(mask.shape, np.argwhere(mask), np.random.default_rng(seed)) for seed in range(300)]
    assert all(mask[top : top + 64, left : left + 64].any() for top, left in corners)
    assert all(top % 8 == left % 8 == 0 and max(top, left) <= image.shape[0] - 64 for top, left in corners)
    assert len(set(corners)) > 40


def test_the_last_rows_and_columns_are_seen(tmp_path: Path) -> None:
    """An image whose sides are no multiples of 8 is padded to the grid; its last pixels are in some crops."""
    samples = PairSamples([write_pair(tmp_path, "a", height=77, width=83, authentic=True)], size=64, seed=0)
    crops = [samples[index] for index in range(60)]
    assert {int(crop.valid.sum()) for crop in crops} == {64 * 64, 64 * 61, 59 * 64, 61 * 59}


def test_every_epoch_visits_each_image_once(tmp_path: Path) -> None:
    """The order changes from epoch to epoch, the images do not."""
    pairs = []
    for level in range(5):
        path = tmp_path / f"{level}.png"
        cv2.imwrite(str(path), np.full((64, 64, 3), 10 * level, np.uint8))
        pairs.append(ImagePair(path, None, authentic=True))
    samples = PairSamples(pairs, size=64, seed=3)

    seen = [int(samples[index].image[0, 0, 0]) for index in range(10)]

    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 10, 20, 30, 40]
    assert seen[:5] != seen[5:]


def test_batches_depend_on_the_index_alone(tmp_path: Path) -> None:
    """Starting at sample 4 gives the third batch of two, with worker processes or without."""
    samples = PairSamples([write_pair(tmp_path, "ab"), write_pair(tmp_path, "abc")], size=64, seed=0)
    stream = batches(samples, batch_size=2, first=0, workers=0)
    third = [next(stream) for _ in range(3)][2]

    resumed = next(batches(samples, batch_size=2, first=4, workers=1))

    assert torch.equal(third.image, resumed.image)


class ProcessGroups(Dataset[TrainingSample]):
    """Samples that tell the process group in which they were made."""

    def __getitem__(self, index: int) -> TrainingSample:
        """Return the group as every part of a sample."""
        group = torch.tensor(os.getpgrp())
        return TrainingSample(group, group, group)


@pytest.mark.skipif(not hasattr(os, "setpgid"), reason="Windows has no process groups")
def test_a_signal_to_the_training_processes_group_spares_its_workers() -> None:
    """`timeout` signals a whole group: a worker that ended would take the run with it, before its checkpoint."""
    (group,) = next(batches(ProcessGroups(), batch_size=1, first=0, workers=1)).image.tolist()
    assert group != os.getpgrp()


def test_ranks_share_the_indices(tmp_path: Path) -> None:
    """Two ranks together see what one process sees."""
    samples = PairSamples([write_pair(tmp_path, "ab"), write_pair(tmp_path, "abc")], size=64, seed=0)
    alone = next(batches(samples, batch_size=4, first=0, workers=0)).image

    shared = [next(batches(samples, batch_size=2, first=0, workers=0, rank=rank, ranks=2)).image for rank in (0, 1)]

    assert torch.equal(alone[0::2], shared[0])
    assert torch.equal(alone[1::2], shared[1])


def test_manifest_is_split_without_overlap(tmp_path: Path) -> None:
    """Held-out images are not trained on, and the authentic ones among them calibrate."""
    pairs = write_set(tmp_path / "set")

    sources = open_sources(run_config(tmp_path / "set", validation_share=0.3))

    kept, held = parts(sources)
    assert {p.image for p in kept} | {p.image for p in held} == {p.image for p in pairs}
    assert not {p.image for p in kept} & {p.image for p in held}
    assert len(list(sources.authentic())) == sum(p.authentic for p in held)
    assert sources.description["images"] == len(kept)


def test_every_seed_holds_back_the_same_images(tmp_path: Path) -> None:
    """A run from another's weights is not validated on what those were trained on, whatever its seed."""
    write_set(tmp_path / "set")
    make_photo_folder(tmp_path / "photos", count=12)
    held, photos = [], []
    for seed in (0, 1):
        pairs = open_sources(run_config(tmp_path / "set", validation_share=0.3, seed=seed)).validation
        assert isinstance(pairs, PairSamples)
        held.append([pair.image for pair in pairs.pairs])
        train = TrainConfig(photos=str(tmp_path / "photos"), seed=seed, validation_share=0.4)
        forged = open_sources(RunConfig(forge=ForgeConfig(size=64), train=train)).validation
        assert isinstance(forged, ForgeSamples)
        photos.append(forged.forge.photos.sha256)
    assert held[0] == held[1]
    assert photos[0] == photos[1]


@pytest.mark.parametrize("layout", ["mani", "json"])
def test_imdlbenco_layouts_are_read(tmp_path: Path, layout: str) -> None:
    """ManiDataset folders and JsonDataset files train like a manifest."""
    pairs = write_set(tmp_path / "set")
    spec = tmp_path / "set.json"
    if layout == "json":
        rows = [[str(p.image), str(p.mask) if p.mask else "Negative"] for p in pairs]
        spec.write_text(json.dumps(rows), encoding="utf-8")
    else:
        spec = tmp_path / "mani"
        for name in ("Tp", "Gt", "Au"):
            (spec / name).mkdir(parents=True)
        for pair in pairs:
            pair.image.rename(spec / ("Au" if pair.authentic else "Tp") / pair.image.name)
            if pair.mask:
                pair.mask.rename(spec / "Gt" / pair.image.name)

    sources = open_sources(run_config(spec, validation_share=0.3))

    assert sources.train[0].image.shape == (3, 64, 64)
    assert sources.description["tampered"] == 20 - _tampered(sources.validation)


def test_masks_of_another_shape_are_refused_before_the_first_step(tmp_path: Path) -> None:
    """Wherever in the set they stand, masks that cannot be their images' are found when the set is opened."""
    pairs = write_set(tmp_path / "set")
    for number in (25, 28):
        cv2.imwrite(str(pairs[number].mask), make_mask(50, 10).astype(np.uint8) * 255)

    with pytest.raises(DatasetError, match=r"2 of 20 masks .*image25_mask\.png"):
        open_sources(run_config(tmp_path / "set", validation_share=0.3))


def test_warnings_about_the_set_are_handed_on(tmp_path: Path) -> None:
    """What the check found without stopping is said before the first step, and counted in the weights' manifest."""
    pairs = write_set(tmp_path / "set")
    cv2.imwrite(str(pairs[28].mask), make_mask(120, 96).astype(np.uint8) * 255)

    sources = open_sources(run_config(tmp_path / "set", validation_share=0.3))

    assert [line[:14] for line in sources.warnings if "transposed" in line] == ["1 x transposed"]
    assert sources.description["images_left_out"] == 1


def test_images_of_one_group_are_not_divided(tmp_path: Path) -> None:
    """Two forgeries of one base image are both trained on or both held out; without groups some of these divide."""
    sources = grouped_sources(tmp_path / "set", lambda number: f"base{number // 4}")

    kept, held = parts(sources)
    assert len(kept) + len(held) == 60
    assert not {pair.group for pair in kept} & {pair.group for pair in held}


def test_calibration_sees_each_photo_once(tmp_path: Path) -> None:
    """Several authentic samples of one photo, as `nclf forge` makes them, would count as several photos."""
    sources = grouped_sources(tmp_path / "set", lambda number: f"base{number // 4}")
    _, held = parts(sources)
    authentic = [pair.group for pair in held if pair.authentic]
    assert len(list(sources.authentic())) == len(set(authentic)) < len(authentic)


def test_a_splice_of_photos_on_both_sides_is_in_neither_part(tmp_path: Path) -> None:
    """No photo is trained on in one image and held out in another, also where images are made of two photos."""
    sources = grouped_sources(tmp_path / "set", lambda number: f"p{number % 7}+p{number % 5}")

    kept, held = parts(sources)
    trained_on, held_out = ({base for pair in part for base in pair.bases} for part in (kept, held))
    assert trained_on and held_out and not trained_on & held_out  # noqa: PT018
    between = 60 - len(kept) - len(held)
    assert between > 0
    assert sources.description["images_on_both_sides"] == between
    assert any(line.startswith(f"{between} images are in neither part") for line in sources.warnings)


def test_casia_is_split_by_photo(tmp_path: Path) -> None:
    """A forgery and the authentic image that it was made of lie on one side."""
    photos(tmp_path / "Au", *(f"Au_ani_{number:05}.jpg" for number in range(40)))
    names = [f"Tp_S_NNN_S_N_ani{number:05}_ani{number:05}_{number:05}" for number in range(40)]
    photos(tmp_path / "Tp", *(f"{name}.jpg" for name in names))
    masks(tmp_path / "Gt", *(f"{name}_gt.png" for name in names))

    sources = open_sources(run_config(tmp_path, dataset=f"casia:{tmp_path}", validation_share=0.4))

    kept, held = parts(sources)
    assert (len(kept) + len(held), len(kept) % 2, len(held) % 2) == (80, 0, 0)
    assert not {base for pair in kept for base in pair.bases} & {base for pair in held for base in pair.bases}
    assert (sources.description["set"], sources.description["authentic"]) == ("casiav2", len(kept) // 2)


def test_authentic_images_can_be_left_out_of_the_training(tmp_path: Path) -> None:
    """They still calibrate; the manifest says that none was trained on, as a protocol may ask."""
    write_set(tmp_path / "set", count=60)

    sources = open_sources(run_config(tmp_path / "set", validation_share=0.5, tampered_only=True))

    assert isinstance(sources.train, PairSamples)
    assert not any(pair.authentic for pair in sources.train.pairs)
    assert sources.description["authentic"] == 0
    assert len(list(sources.authentic())) > 0


def test_a_set_that_cannot_be_divided_is_not_trained_on(tmp_path: Path) -> None:
    """NIST16 without its list: nearly every held-out image would share its mask with one that is trained on."""
    names = [f"NC2016_{number:04}_splice.png" for number in range(20)]
    photos(tmp_path / "probe_save", *names)
    masks(tmp_path / "mask", *names)

    with pytest.raises(DatasetError, match=r"cannot be trained on.*NC2016-manipulation-ref\.csv"):
        open_sources(run_config(tmp_path, dataset=f"nist16:{tmp_path}", validation_share=0.3))


def test_missing_masks_stop_unless_allowed(tmp_path: Path) -> None:
    """An image that lost its mask is an error that names the way out; with it, training goes on without the image."""
    pairs = write_set(tmp_path / "set")
    assert pairs[28].mask is not None
    pairs[28].mask.unlink()
    config = run_config(tmp_path / "set", validation_share=0.3)

    with pytest.raises(DatasetError, match=r"image28\.png.*--allow-missing"):
        open_sources(config)

    sources = open_sources(replace(config, train=replace(config.train, allow_missing=True)))
    assert len(sources.train.pairs) + len(sources.validation.pairs) == 29  # type: ignore[attr-defined]


def test_half_size_mask_is_brought_to_its_image(tmp_path: Path) -> None:
    """A mask saved at half size marks the same region, and the manifest of the weights counts it."""
    pairs = write_set(tmp_path / "set")
    half = make_mask(48, 60, box=(20, 30, 28, 40)).astype(np.uint8) * 255
    for pair in pairs:
        if pair.mask:
            cv2.imwrite(str(pair.mask), half)

    sources = open_sources(run_config(tmp_path / "set", validation_share=0.3))

    assert sources.description["masks_resized"] == 20
    assert max(int(sources.train[index].mask.sum()) for index in range(10)) == 16 * 20


def test_unreadable_image_is_left_out_and_counted(tmp_path: Path) -> None:
    """One broken file does not stop a training."""
    pairs = write_set(tmp_path / "set")
    pairs[3].image.write_text("no image", encoding="utf-8")

    sources = open_sources(run_config(tmp_path / "set", validation_share=0.3))

    assert sources.description["images_left_out"] == 1


def test_benchmark_that_is_not_there_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--dataset casia` without CASIA ends with what CASIA v2 consists of and who publishes it."""
    monkeypatch.delenv("NCLF_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match=r"(?s)CASIA v2.*5,123 tampered.*Published at"):
        open_sources(RunConfig(train=TrainConfig(dataset="casia")))


def test_benchmark_trains_by_its_own_mask_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DSO-1 in a data root is found by name, and black in its masks means tampered."""
    monkeypatch.setenv("NCLF_DATA", str(tmp_path))
    planted_set("dso-1", tmp_path / "dso-1", "none")

    sources = open_sources(
        RunConfig(forge=ForgeConfig(size=64), train=TrainConfig(dataset="dso-1", validation_share=0.3))
    )

    assert sources.description["kind"] == "data set DSO-1"
    assert 0 < np.mean([sources.train[index].mask.float().mean() for index in range(10)]) < 0.5


def test_set_without_held_out_forgeries_is_refused(tmp_path: Path) -> None:
    """A validation part without one tampered image could not choose a model."""
    write_set(tmp_path / "set", count=2)

    with pytest.raises(DatasetError, match="tampered images in the"):
        open_sources(run_config(tmp_path / "set"))


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_senseless_validation_share_is_refused(tmp_path: Path, share: float) -> None:
    """Nothing held out, or more than half, is a configuration error."""
    with pytest.raises(ConfigError, match="validation_share"):
        open_sources(run_config(tmp_path, validation_share=share))


def _tampered(samples: object) -> int:
    assert isinstance(samples, PairSamples)
    return sum(not pair.authentic for pair in samples.pairs)
