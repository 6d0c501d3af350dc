"""The model that comes with the package does on the examples what the README and its card say."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from nclforensics.cli.app import main
from nclforensics.cli.options import TileOption
from nclforensics.config import load_config
from nclforensics.data.images import image_size, read_mask
from nclforensics.data.manifest import ImagePair, read_manifest
from nclforensics.errors import UsageError
from nclforensics.networks.weights import DEFAULT_MODEL, bundled_models_folder, find_model, load_model
from nclforensics.pipelines.inference import Localizer

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MARKED = re.compile(r"\| `authentic/(?P<name>[^`]+)` \| (?P<share>0\.\d\d) \|")
STATED = re.compile(r"\| `(?:forged|edited)/(?P<name>[^`]+)` \| (?P<iou>0\.\d\d) \|")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of `nclf scan examples`."""
    out = tmp_path_factory.mktemp("scan") / "masks"
    with pytest.raises(SystemExit) as end:
        main(["scan", str(EXAMPLES), "--out", str(out), "--quiet"])
    assert end.value.code == 0
    return out


def test_the_help_says_what_the_smallest_tile_is() -> None:
    """It is that of the default model, which refuses a smaller one."""
    network = load_model(DEFAULT_MODEL).network
    (stated,) = re.findall(r"need (\d+) or more", get_args(TileOption)[1].help)
    Localizer(network, device=torch.device("cpu"), tile=int(stated))
    with pytest.raises(UsageError, match=f"at least {stated} pixels"):
        Localizer(network, device=torch.device("cpu"), tile=int(stated) - 1)


def test_the_wheel_brings_the_default_model_and_the_one_it_began_from() -> None:
    """So its training can be repeated, and what the version before scanned be verified."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    began_from = load_config(ROOT / "models" / DEFAULT_MODEL / "config.toml").train.initial
    expected = {f"models/{name}": f"nclforensics/models/{name}" for name in (DEFAULT_MODEL, began_from)}
    assert wheel["force-include"] == expected


def _pairs(*, authentic: bool) -> list[ImagePair]:
    return [pair for pair in read_manifest(EXAMPLES) if pair.authentic == authentic]


def _mask_of(pair: ImagePair, masks: Path) -> Path:
    inside = pair.image.relative_to(EXAMPLES)
    return masks / inside.parent / f"{inside.name}.mask.png"


def test_every_example_gets_one_mask_of_its_size(masks: Path) -> None:
    """One mask a photo, nothing else, each of identical size."""
    pairs = read_manifest(EXAMPLES)
    written = sorted(path for path in masks.rglob("*") if path.suffix == ".png")
    assert written == sorted(_mask_of(pair, masks) for pair in pairs)
    assert all(image_size(_mask_of(pair, masks)) == image_size(pair.image) for pair in pairs)


@pytest.mark.parametrize("name", ["edited/copy_move_pancake.jpg", "forged/copy_move_garden.jpg"])
def test_the_copy_is_told_from_its_original(name: str, masks: Path) -> None:
    """The record says where the copy is, and the mask leaves the place that it was copied from free."""
    records = [json.loads(line) for line in (masks / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    (record,) = [record for record in records if record["path"].endswith(name)]
    (pair,) = [pair for pair in _pairs(authentic=False) if pair.image == EXAMPLES / name]
    assert pair.mask is not None
    truth, found = read_mask(pair.mask), read_mask(_mask_of(pair, masks))
    copy = record["copies"][0]
    target, source = (
        np.s_[box["y"] : box["y"] + box["height"], box["x"] : box["x"] + box["width"]]
        for box in (copy["target"], copy["source"])
    )
    assert copy["directed"]
    assert truth[target].mean() > 0.5
    assert found[target].mean() > 0.5
    assert truth[source].mean() < 0.1
    assert found[source].mean() < 0.1


def test_masks_of_forged_examples_overlap_the_truth_as_stated(masks: Path) -> None:
    """The IoU of each forged example is the one in examples/README.md, within what another processor may change."""
    stated = {m["name"]: float(m["iou"]) for m in STATED.finditer((EXAMPLES / "README.md").read_text(encoding="utf-8"))}
    measured = {}
    for pair in _pairs(authentic=False):
        assert pair.mask is not None
        truth, found = read_mask(pair.mask), read_mask(_mask_of(pair, masks))
        measured[pair.image.name] = float((truth & found).sum() / (truth | found).sum())
    assert measured == pytest.approx(stated, abs=0.03)
    assert sum(iou > 0.3 for iou in measured.values()) >= 3


def test_false_alarms_on_authentic_examples_are_the_stated_ones(masks: Path) -> None:
    """The share of each authentic example that is marked is the one in examples/README.md; most are empty."""
    stated = {m["name"]: float(m["share"]) for m in MARKED.finditer((EXAMPLES / "README.md").read_text("utf-8"))}
    shares = {pair.image.name: float(read_mask(_mask_of(pair, masks)).mean()) for pair in _pairs(authentic=True)}
    assert shares == pytest.approx(stated, abs=0.03)
    assert sum(share == 0 for share in shares.values()) >= 4


def test_record_names_the_model_and_its_digest(masks: Path) -> None:
    """run.json says which weights were used."""
    run = json.loads((masks / "run.json").read_text(encoding="utf-8"))
    assert run["model"]["weights_sha256"] == load_model().sha256


def test_default_model_is_small_and_calibrated() -> None:
    """At most 12 MB and 3 million parameters, calibrated on at least 100 authentic images."""
    model = load_model()
    assert (find_model() / "weights.safetensors").stat().st_size <= 12_000_000
    assert sum(parameter.numel() for parameter in model.network.parameters()) <= 3_000_000
    assert model.calibration.authentic >= 100
    assert model.thresholds[0.05] == model.threshold


def test_card_holds_the_measured_table() -> None:
    """The card names every set that evaluation.json has, with its counts."""
    folder = bundled_models_folder() / DEFAULT_MODEL
    card = (folder / "card.md").read_text(encoding="utf-8")
    for name, report in json.loads((folder / "evaluation.json").read_text(encoding="utf-8")).items():
        counts = report["counts"]
        assert f"| {name} | {counts['tampered']} / {counts['authentic']} |" in card
