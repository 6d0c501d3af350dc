"""The command with a tiny untrained model: what goes where, and how it ends. Numbers are tested in pipelines."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from nclforensics.cli.eval import ProtocolName, evaluate
from nclforensics.config import ModelConfig, RunConfig
from nclforensics.data.images import read_mask
from nclforensics.data.manifest import ImagePair, write_manifest
from nclforensics.errors import DatasetError, MissingInputError, OutputError, UsageError, WeightsMissingError
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import save_model
from nclforensics.pipelines.protocols import PROTOCOLS
from nclforensics.results import Calibration
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from typer.testing import Result

ROOT = Path(__file__).parents[2]
CALIBRATION = Calibration(
    false_positive_rates=(0.05,), thresholds=(0.9,), min_region=0.005, authentic=50, source="none, a test"
)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not broken differently where the tests' paths are longer."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small untrained model."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = ModelConfig(branch_channels=8, embedding_dim=8, decoder_channels=8)
    training = {"sources": "no photos at all"}
    run = RunConfig(model=config)
    save_model(folder, build_network(config), run, name="tiny", calibration=CALIBRATION, training=training)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a folder with two tampered images, one authentic one and a manifest."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a", "b", "c"):
        cv2.imwrite(str(folder / f"{name}.png"), make_image(seed=ord(name)))
    cv2.imwrite(str(folder / "m.png"), make_mask().astype(np.uint8) * 255)
    pairs = [ImagePair(folder / f"{name}.png", folder / "m.png", authentic=False) for name in ("a", "b")]
    write_manifest([*pairs, ImagePair(folder / "c.png", None, authentic=True)], folder / "manifest.csv")
    return folder


def run(*arguments: str | Path) -> Result:
    """Run the command alone."""
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_text_goes_to_stdout(dataset: Path, model: Path) -> None:
    """The table has the headline, the protocol names the model and its training data."""
    result = run(dataset, "--weights", model, "--device", "cpu")
    assert (result.exit_code, result.stderr) == (0, "")
    for expected in ("f1@fpr5", "2 tampered and 1 authentic images", "sources: no photos at all", "tiny"):
        assert expected in result.stdout


def test_a_slow_precision_is_said(dataset: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a processor without its instructions: on stderr, beside the figures."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    result = run(dataset, "--weights", model, "--device", "cpu", "--precision", "bf16")
    assert result.exit_code == 0
    assert "Use --precision fp32" in result.stderr


def test_json_is_all_of_stdout(dataset: Path, model: Path) -> None:
    """Standard output parses as one document."""
    result = run("--benchmark", dataset, "--weights", model, "--device", "cpu", "--json")
    report = json.loads(result.stdout)
    assert ("f1@fpr5", str(dataset)) == (report["measures"][0]["name"], report["protocol"]["dataset"])


def test_csv_has_the_images(dataset: Path, model: Path, tmp_path: Path) -> None:
    """One row an image, nothing temporary left behind."""
    target = tmp_path / "out" / "rows.csv"
    target.parent.mkdir()
    run(dataset, "--weights", model, "--device", "cpu", "--csv", target)
    with target.open(encoding="utf-8", newline="") as file:
        assert [str(dataset / f"{name}.png") for name in "abc"] == [row["image"] for row in csv.DictReader(file)]
    assert [target] == list(target.parent.iterdir())


def test_skipped_image_ends_with_17(dataset: Path, model: Path) -> None:
    """The figures are there, but the exit code says that they are not of the whole set."""
    (dataset / "b.png").write_bytes(b"broken")
    result = run(dataset, "--weights", model, "--device", "cpu")
    assert result.exit_code == 17
    assert "1 of 3 images were skipped" in result.stderr
    assert "f1@fpr5" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), UsageError),
        (("no_such_set",), MissingInputError),
        (("--benchmark", "coverage"), DatasetError),
    ],
    ids=["nothing", "missing", "benchmark"],
)
def test_unusable_data_set_is_refused(
    arguments: tuple[str, ...], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own error, and so its own exit code."""
    monkeypatch.chdir(tmp_path)
    assert isinstance(run(*arguments).exception, error)


def test_several_sets_give_one_report_each_and_their_mean(dataset: Path, model: Path, tmp_path: Path) -> None:
    """Arguments and --benchmark add up; reports go to folders of their own, rows of both into one CSV."""
    shutil.copytree(dataset, tmp_path / "other")
    arguments = ("--benchmark", tmp_path / "other", "--weights", model, "--device", "cpu")
    result = run(dataset, *arguments, "--out", tmp_path / "out", "--csv", tmp_path / "rows.csv")
    assert result.exit_code == 0, result.output
    assert "mean of the sets" in result.stdout
    assert {path.parent.name for path in (tmp_path / "out").rglob("report.html")} == {"set", "other"}
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert len({row["dataset"] for row in csv.DictReader(file)}) == 2
    reports = json.loads(run(dataset, *arguments, "--json").stdout)
    assert [report["counts"]["tampered"] for report in reports] == [2, 2]


def test_both_places_of_a_copy_are_marked_where_asked_for(tmp_path: Path) -> None:
    """For ground truth that marks both; the report says that a scan does not."""
    copied = read_mask(ROOT / "docs" / "example_masks" / "copy_move_valley.png")
    original = np.roll(copied, (-149, -24), (0, 1))
    cv2.imwrite(str(tmp_path / "mask.png"), np.uint8(255) * (copied | original))
    image = ROOT / "examples" / "forged" / "copy_move_valley.jpg"
    write_manifest([ImagePair(image, tmp_path / "mask.png", authentic=False)], tmp_path / "manifest.csv")
    plain, both = (
        json.loads(run(tmp_path, "--device", "cpu", "--json", *options).stdout) for options in ((), ("--both-places",))
    )
    f1 = [next(m["value"] for m in report["measures"] if m["name"] == "f1@model") for report in (plain, both)]
    assert f1[0] < 0.7
    assert f1[1] > 0.9
    assert any("a scan marks the copy only" in warning for warning in both["warnings"])


def test_out_folder_holds_a_report_that_can_be_repeated(dataset: Path, model: Path, tmp_path: Path) -> None:
    """The options given are in it, and stdout says the same as without --out."""
    options = ("--weights", model, "--device", "cpu", "--fpr", "0.5", "--min-region", "0.01", "--protocol", "mvss")
    result = run(dataset, *options, "--out", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "f1@fpr50" in result.stdout
    config = json.loads((tmp_path / "out" / "report.json").read_text())["origin"]["config"]
    assert (config["false_positive_rate"], config["min_region"], config["protocol"]) == (0.5, 0.01, "mvss")
    assert isinstance(run(dataset, *options, "--out", tmp_path / "out").exception, OutputError)
    assert run(dataset, *options, "--out", tmp_path / "out", "--force").exit_code == 0


def test_robustness_is_measured_when_asked_for(dataset: Path, model: Path, tmp_path: Path) -> None:
    """Curves and table are written, and the table is printed."""
    options = ("--weights", model, "--device", "cpu", "--robustness", "--robustness-limit", "1")
    result = run(dataset, *options, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "at most 1 of each kind" in result.stdout
    assert {"robustness.csv", "robustness.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_curves_of_an_earlier_report_do_not_stay_beside_a_new_one(dataset: Path, model: Path, tmp_path: Path) -> None:
    """They would be taken for its own."""
    options = ("--weights", model, "--device", "cpu", "--out", tmp_path / "out")
    assert run(dataset, *options, "--robustness", "--robustness-limit", "1").exit_code == 0
    assert run(dataset, *options, "--force").exit_code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "report.json" in names
    assert not any(name.startswith("robustness") for name in names)


def test_a_file_that_is_there_is_replaced_by_force_only(dataset: Path, model: Path, tmp_path: Path) -> None:
    """It may be anything: rows of another evaluation, or notes."""
    (tmp_path / "rows.csv").write_text("mine")
    options = (dataset, "--device", "cpu", "--csv", tmp_path / "rows.csv")
    refused = run(*options, "--weights", "no_such_model").exception
    assert isinstance(refused, OutputError)
    assert "--force" in str(refused)
    assert (tmp_path / "rows.csv").read_text() == "mine"
    assert run(*options, "--weights", model, "--force").exit_code == 0
    assert (tmp_path / "rows.csv").read_text() != "mine"


def test_protocols_of_the_help_are_all_protocols() -> None:
    """The help lists the names without importing their definitions."""
    assert [name.value for name in ProtocolName] == list(PROTOCOLS)


def test_missing_masks_stop_unless_allowed(tmp_path: Path, model: Path) -> None:
    """An image of Tp/ without mask is an error, and with --allow-missing a warning in the report."""
    for folder in ("Tp", "Gt"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "set" / "Tp" / f"{name}.png"), make_image(seed=ord(name)))
    cv2.imwrite(str(tmp_path / "set" / "Gt" / "a.png"), make_mask().astype(np.uint8) * 255)
    options = (tmp_path / "set", "--weights", model, "--device", "cpu")
    assert isinstance(run(*options).exception, DatasetError)
    allowed = run(*options, "--allow-missing")
    assert allowed.exit_code == 0, allowed.output
    assert "1 x unpaired-image" in allowed.stdout.replace("\n", " ")


def test_unwritable_csv_is_refused_before_measuring(dataset: Path, tmp_path: Path) -> None:
    """The model is not even looked for."""
    result = run(dataset, "--csv", tmp_path / "none" / "rows.csv", "--weights", "no_such_model")
    assert isinstance(result.exception, OutputError)
    assert isinstance(run(dataset, "--weights", "no_such_model").exception, WeightsMissingError)


@pytest.mark.parametrize("name", ["manifest.csv", "a.png", "notes.txt"])
def test_nothing_of_a_data_set_is_replaced(name: str, dataset: Path) -> None:
    """Neither by --csv nor by --out, and what is there not by --force either."""
    (dataset / "notes.txt").write_text("mine")
    before = (dataset / name).read_bytes()
    for options in (("--csv", dataset / name), ("--csv", dataset / name, "--force"), ("--out", dataset)):
        assert isinstance(run(dataset, *options, "--weights", "no_such_model").exception, OutputError)
    assert (dataset / name).read_bytes() == before
    new = ("--csv", dataset / "new.csv", "--weights", "no_such_model")
    assert isinstance(run(dataset, *new).exception, OutputError)
    assert isinstance(run(dataset, *new, "--force").exception, WeightsMissingError)


def test_figures_of_earlier_sets_outlive_a_fault_in_a_later_one(dataset: Path, model: Path, tmp_path: Path) -> None:
    """Only the pixels of its masks show that the second set is inverted: the first was measured by then."""
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    cv2.imwrite(str(other / "m.png"), 255 - 255 * make_mask().astype(np.uint8))
    rows = tmp_path / "rows.csv"
    result = run(dataset, other, "--weights", model, "--device", "cpu", "--json", "--csv", rows)
    assert isinstance(result.exception, DatasetError)
    assert [report["protocol"]["dataset"] for report in json.loads(result.stdout)] == [str(dataset)]
    with rows.open(encoding="utf-8", newline="") as file:
        assert {row["dataset"] for row in csv.DictReader(file)} == {str(dataset)}
