"""`nclf verify`: table, JSON and exit codes, through `main`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nclforensics.cli.app import main
from nclforensics.networks import weights
from tests.scan_folders import contents, write_photos
from tests.tiny_model import write_model


@pytest.fixture(autouse=True)
def _scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work beside a finished scan of two photos with a tiny bundled model."""
    write_model(tmp_path / "models" / weights.DEFAULT_MODEL)
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos"), count=2)
    assert _run("scan", "photos", "--out", "out", "--device", "cpu", "--quiet") == 0


def _run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    assert isinstance(end.value.code, int)
    return end.value.code


def test_an_untouched_scan_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is the result, so it goes to stdout."""
    before = contents(Path("out"))
    assert _run("verify", "out") == 0
    captured = capsys.readouterr()
    assert "scanned again" in captured.out
    assert captured.err == ""
    assert contents(Path("out")) == before


def test_a_changed_mask_ends_with_20(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file."""
    Path("out/0.png.mask.png").write_bytes(b"other")
    assert _run("verify", "out", "--sample", "0") == 20
    captured = capsys.readouterr()
    assert "outputs: 0.png.mask.png is not the file that was written" in captured.err
    assert "not as recorded" in captured.err


def test_json_is_all_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output parses as one document, whatever the outcome."""
    Path("photos/0.png").unlink()
    assert _run("verify", "out", "--sample", "1", "--json") == 20
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["inputs"]["differing"], checks["outputs"]["differing"]) == (1, 0)


def test_a_folder_that_is_no_scan_ends_with_11() -> None:
    """As any missing input."""
    assert _run("verify", "photos") == 11


def test_quiet_tells_only_by_its_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    """And by nothing else, as long as all is well."""
    assert _run("verify", "out", "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_nothing_recorded_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts of a stranger's records are shown, and neither obeyed nor taken for a line of ours."""
    run = json.loads(Path("out/run.json").read_text())
    run["versions"]["torch"] = "\x1b[2J\nall is well"
    Path("out/run.json").write_text(json.dumps(run))
    assert _run("verify", "out", "--sample", "0") == 0
    assert "torch \\x1b[2J\\nall is well; here" in capsys.readouterr().err


@pytest.mark.parametrize("images", ["x", -5, 10**400, None], ids=lambda images: str(images)[:5])
def test_any_number_of_images_is_looked_at(images: object) -> None:
    """What is not the number of records is a difference."""
    run = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text(json.dumps({**run, "images": images}))
    assert _run("verify", "out", "--sample", "0") == 20
