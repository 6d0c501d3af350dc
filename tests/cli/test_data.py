"""The `nclf data` commands: what goes where, and how they end."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import cv2
import pytest
from typer.testing import CliRunner

from nclforensics.cli.data import app
from nclforensics.data.loaders import LOADERS
from nclforensics.data.sets import load_set
from nclforensics.errors import DatasetError, MissingInputError, OutputError
from tests.data.loaders.miniatures import columbia, coverage, masks, photos
from tests.planted_sets import planted_set

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(autouse=True)
def _no_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the data sets of whoever runs the tests out of them."""
    monkeypatch.delenv("NCLF_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run(*arguments: str | Path) -> Result:
    """Run the command group alone, with room for long lines."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


def test_check_prints_a_table_and_ends_with_0(tmp_path: Path) -> None:
    """A set with nothing but warnings can be used."""
    coverage(tmp_path / "data" / "coverage")
    result = run("check", "coverage", "--data-root", tmp_path / "data")
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("COVERAGE", "3 of 100 published", "image/41t.tif: The image has 64 x 48 pixels", "Usable: 0 errors"):
        assert words in result.stdout


def test_check_ends_with_15_at_errors_after_reporting_them(tmp_path: Path) -> None:
    """JSON is all of stdout, whether the set can be used or not."""
    root = planted_set("coverage", tmp_path, "inverted")
    result = run("check", f"coverage:{root}", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 15
    assert (report["usable"], report["anomalies"][0]["kind"]) == (False, "inverted")


def test_check_draws_a_sheet(tmp_path: Path) -> None:
    """One entry is asked for, three pictures wide."""
    root = columbia(tmp_path / "columbia")
    result = run("check", root, "--sheet", tmp_path / "sheet.png", "--entries", "1", "--limit", "2")
    assert result.exit_code == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (339, 940, 3)
    assert "pairs, because of --limit" in result.stdout


@pytest.mark.parametrize("name", ["none/sheet.png", "file/sheet.png", "x" * 300, ".", "pipe"])
def test_check_finds_out_early_that_the_sheet_cannot_be_written(tmp_path: Path, name: str) -> None:
    """Before anything is looked at; what is there already stays what it is."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    result = run("check", "nothing", "--sheet", tmp_path / name)
    assert isinstance(result.exception, OutputError)
    assert (tmp_path / "pipe").is_fifo()


def _set_with_a_mask_elsewhere(tmp_path: Path) -> Path:
    """Write a set of one pair, whose mask lies in another folder, and of a mask that belongs to nothing."""
    photos(tmp_path / "set", "a.png")
    masks(tmp_path / "masks", "a.png")
    masks(tmp_path / "set", "left.png")
    (tmp_path / "set" / "manifest.csv").write_text("image,mask\na.png,../masks/a.png\n")
    return tmp_path / "set"


@pytest.mark.parametrize(
    "name", ["set/a.png", "set/left.png", "set/manifest.csv", "masks/a.png", "link.png", "notes.txt"]
)
def test_check_replaces_no_file_of_the_set(tmp_path: Path, name: str) -> None:
    """Listed or not; nor any file that can be no earlier sheet."""
    root = _set_with_a_mask_elsewhere(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link.png").symlink_to(root / "a.png")
    before = (tmp_path / name).read_bytes()
    result = run("check", root, "--sheet", tmp_path / name)
    assert isinstance(result.exception, OutputError)
    assert (tmp_path / name).read_bytes() == before


def test_check_replaces_an_earlier_sheet(tmp_path: Path) -> None:
    """A second look at the same set needs no other name."""
    root = _set_with_a_mask_elsewhere(tmp_path)
    for _ in range(2):
        assert run("check", root, "--sheet", tmp_path / "sheet.png").exit_code == 0


@pytest.mark.parametrize(
    ("row", "code", "verdict"), [("a.png,,1", 0, "Usable"), ("none.png,left.png,0", 15, "Not usable")]
)
def test_check_reports_also_where_nothing_can_be_drawn(tmp_path: Path, row: str, code: int, verdict: str) -> None:
    """The sheet is an extra: the report and the code are those of the check."""
    root = _set_with_a_mask_elsewhere(tmp_path)
    (root / "manifest.csv").write_text(f"image,mask,authentic\n{row}\n")
    result = run("check", root, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == code
    assert verdict in result.stdout
    assert "sheet.png was not drawn" in result.stderr
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(("spec", "error"), [("casia", DatasetError), ("nothing", MissingInputError)])
@pytest.mark.parametrize("command", [("check",), ("convert", "--to", "json", "--out", "out")])
def test_missing_sets_end_in_errors(command: tuple[str, ...], spec: str, error: type[Exception]) -> None:
    """A benchmark that is not there, and no benchmark at all."""
    result = run(*command, spec)
    assert isinstance(result.exception, error)


def test_convert_says_what_it_wrote(tmp_path: Path) -> None:
    """The path on stdout is what the next command takes; warnings and counts go to stderr."""
    root = coverage(tmp_path / "coverage")
    result = run("convert", root, "--to", "json", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout.strip()) == (0, str(tmp_path / "out" / "dataset.json"))
    assert "6 pairs written, 0 left out." in result.stderr
    assert "1 x resized" in result.stderr
    assert len(load_set(result.stdout.strip()).pairs) == 6


def test_convert_says_that_a_set_cannot_be_split(tmp_path: Path) -> None:
    """The set that it writes no longer knows."""
    photos(tmp_path / "imd2020" / "Tp", "c8tf5mq_0.png")
    masks(tmp_path / "imd2020" / "Gt", "c8tf5mq_0.png")
    result = run("convert", tmp_path / "imd2020", "--to", "manifest", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "never split it: which manipulations share an original" in result.stderr.replace("\n", " ")


def test_convert_refuses_what_check_would_refuse(tmp_path: Path) -> None:
    """Inverted masks are not made plain, and nothing is written."""
    root = planted_set("coverage", tmp_path / "coverage", "inverted")
    result = run("convert", root, "--to", "mani", "--out", tmp_path / "out")
    assert isinstance(result.exception, DatasetError)
    assert not (tmp_path / "out").exists()


def test_convert_goes_on_without_missing_files_if_allowed(tmp_path: Path) -> None:
    """A ManiDataset that lost a mask."""
    run("convert", coverage(tmp_path / "coverage"), "--to", "mani", "--out", tmp_path / "mani")
    next((tmp_path / "mani" / "Gt").iterdir()).unlink()
    refused = run("convert", tmp_path / "mani", "--to", "manifest", "--out", tmp_path / "out")
    assert isinstance(refused.exception, DatasetError)
    allowed = run("convert", tmp_path / "mani", "--to", "manifest", "--out", tmp_path / "out", "--allow-missing")
    assert (allowed.exit_code, len(load_set(str(tmp_path / "out")).pairs)) == (0, 5)


def test_list_tells_every_benchmark_and_where_it_lies(tmp_path: Path) -> None:
    """One line a benchmark; what is not on this machine has a dash."""
    (tmp_path / "COVERAGE").mkdir()
    result = run("list", "--data-root", tmp_path)
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if "│" in line}
    assert set(LOADERS) <= set(lines)
    assert lines["coverage"].rstrip(" │").endswith("COVERAGE")
    assert lines["casiav2"].rstrip(" │").endswith("-")


def test_list_shows_all_benchmarks_though_one_is_there_twice(tmp_path: Path) -> None:
    """Its row says so; a folder of data sets that is not there ends the command."""
    for name in ("COVERAGE", "coverage", "Columbia"):
        (tmp_path / name).mkdir()
    result = run("list", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert "could be the data set coverage" in " ".join(result.stdout.replace("│", " ").split())
    assert str(tmp_path / "Columbia") in result.stdout.replace("│", "").replace("\n", "").replace(" ", "")
    assert isinstance(run("list", "--data-root", tmp_path / "none").exception, DatasetError)
