"""Models on disk are complete, verified at each load, and never unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import tomli_w
import torch

from nclforensics.config import dump_config
from nclforensics.errors import OutputError, UsageError, WeightsMismatchError, WeightsMissingError
from nclforensics.networks import weights
from nclforensics.networks.weights import load_model, save_model
from tests.tiny_model import TINY_CONFIG, make_calibration, make_network, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a valid tiny model."""
    return write_model(tmp_path / "tiny")


def _rewrite_weights(folder: Path, content: bytes) -> None:
    """Replace the weights and let the manifest agree, so that only the content is wrong."""
    (folder / "weights.safetensors").write_bytes(content)
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    manifest["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.toml").write_text(tomli_w.dumps(manifest))


def test_a_saved_model_loads_with_the_same_outputs(folder: Path) -> None:
    """Weights, shape and buffers survive the way through the folder."""
    images = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = make_network()(images).logits
        actual = load_model(folder).network(images).logits
    assert torch.equal(actual, expected)


def test_a_loaded_model_is_in_eval_mode(folder: Path) -> None:
    """A scan must not update batch statistics."""
    assert not load_model(folder).network.training


def test_the_calibration_survives(folder: Path) -> None:
    """Thresholds, region size, count and source are those that were saved."""
    model = load_model(folder)
    assert (model.calibration, model.threshold, model.thresholds) == (make_calibration(), 0.05, {0.01: 0.5, 0.05: 0.05})
    assert model.network.calibrated_pixels == 1_000_000


def test_the_digest_is_that_of_the_file(folder: Path) -> None:
    """`sha256sum` on the weights file prints what reports print."""
    expected = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert load_model(folder).sha256 == expected


def test_the_manifest_describes_the_file(folder: Path) -> None:
    """Size and number of parameters in the manifest are the real ones."""
    table = tomllib.loads((folder / "manifest.toml").read_text())["weights"]
    parameters = sum(parameter.numel() for parameter in make_network().parameters())
    assert (table["bytes"], table["parameters"]) == ((folder / "weights.safetensors").stat().st_size, parameters)


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """The digest identifies the weights: it holds no time and no random order (which shows in some runs only)."""
    digests = {load_model(write_model(tmp_path / str(number))).sha256 for number in range(8)}
    assert digests == {load_model(folder).sha256}


@pytest.mark.parametrize("position", [0, 9, -1], ids=["length", "header", "tensor"])
def test_one_flipped_byte_is_refused(folder: Path, position: int) -> None:
    """Wherever a byte differs, the load ends with both digests named."""
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    before = hashlib.sha256(content).hexdigest()
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=f"says {before[:12]}"):
        load_model(folder)


def test_tensors_of_another_shape_are_refused(folder: Path) -> None:
    """A configuration that builds another network does not load, and the message names a tensor."""
    wider = dataclasses.replace(TINY_CONFIG, model=dataclasses.replace(TINY_CONFIG.model, branch_channels=16))
    (folder / "config.toml").write_text(dump_config(wider))
    with pytest.raises(WeightsMismatchError, match="branch_plus"):
        load_model(folder)


def test_a_missing_tensor_is_refused(folder: Path) -> None:
    """Weights with one name less do not leave that tensor random."""
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    del tensors["decoder.logit.bias"]
    _rewrite_weights(folder, safetensors.torch.save(tensors))
    with pytest.raises(WeightsMismatchError, match=r"decoder\.logit\.bias"):
        load_model(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    """NaN weights would give empty masks, which read as a finding."""
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    tensors["decoder.logit.bias"].fill_(float("nan"))
    _rewrite_weights(folder, safetensors.torch.save(tensors))
    with pytest.raises(WeightsMismatchError, match="not finite"):
        load_model(folder)


def test_a_pickle_is_refused(folder: Path) -> None:
    """A pickle in the place of the weights is a damaged safetensors file, whatever its digest."""
    _rewrite_weights(folder, pickle.dumps({"weight": 1}))
    with pytest.raises(WeightsMismatchError, match="no safetensors file"):
        load_model(folder)


def test_a_damaged_manifest_is_refused(folder: Path) -> None:
    """Without a readable digest nothing is loaded."""
    (folder / "manifest.toml").write_text("[weights\n")
    with pytest.raises(WeightsMismatchError, match="not valid TOML"):
        load_model(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.toml"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """A model folder without one of its files is a missing model."""
    (folder / name).unlink()
    with pytest.raises(WeightsMissingError, match=name):
        load_model(folder)


def test_an_unknown_model_names_the_available_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who mistypes a name sees the names to choose from."""
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: folder.parent)
    with pytest.raises(WeightsMissingError, match="Bundled models: tiny"):
        load_model("tyni")


def test_a_bundled_model_is_found_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name in the working directory cannot take a bundled model's place."""
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: folder.parent)
    write_model(tmp_path / "work" / "tiny", threshold=0.2)
    monkeypatch.chdir(tmp_path / "work")
    assert load_model("tiny").threshold == 0.05


def test_a_run_folder_stands_for_its_model(folder: Path, tmp_path: Path) -> None:
    """`nclf train` leaves the model in `model/`; its run folder can be named instead."""
    folder.rename(tmp_path / "model")
    assert load_model(tmp_path).name == "tiny"


def test_a_failing_write_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, the old files stay whole and no temporary file remains."""

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    before = sorted(folder.iterdir())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(folder, make_network(seed=1), TINY_CONFIG, name="b", calibration=make_calibration(), training={})
    monkeypatch.undo()
    assert (sorted(folder.iterdir()), load_model(folder).name) == (before, "tiny")


def test_a_rate_that_was_not_measured_has_no_threshold() -> None:
    """Between two measured rates nothing is known, so nothing is interpolated."""
    with pytest.raises(UsageError, match=r"calibrated at: 0.01, 0.05"):
        make_calibration().threshold_at(0.02)


def test_a_model_without_calibration_says_so() -> None:
    """No threshold is claimed to have an error rate; the default is the neutral one half."""
    empty = dataclasses.replace(make_calibration(), false_positive_rates=(), thresholds=(), authentic=0)
    assert weights._default_threshold(empty) == 0.5


def test_few_photos_give_the_threshold_of_the_lowest_rate_they_resolve() -> None:
    """It was measured, unlike one half, which may flag many more."""
    few = dataclasses.replace(make_calibration(), false_positive_rates=(0.1, 0.2), thresholds=(0.8, 0.7), authentic=12)
    assert weights._default_threshold(few) == 0.8
