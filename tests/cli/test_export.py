"""`nclf export`: what it prints and how it ends, through `main`; the file itself is tested in tests/pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.cli.app import main
from nclforensics.pipelines import export
from nclforensics.pipelines.export import Exported
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.networks.weights import LoadedModel


def _run(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main(["export", *map(str, argv)])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Return the exports that were asked for; none is made, since that takes seconds."""
    calls: list[tuple[str, Path]] = []

    def note(model: LoadedModel, out: Path) -> Exported:
        calls.append((model.name, out))
        return Exported(sha256="ab" * 32, size_bytes=1234567, difference=2e-6)

    monkeypatch.setattr(export, "export_onnx", note)
    return calls


def test_the_path_is_the_result(
    asked: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to stdout, everything about the file to stderr."""
    model, out = write_model(tmp_path / "model"), tmp_path / "m.onnx"
    assert _run("--weights", model, "--format", "onnx", "--out", out) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert "tiny as onnx, 1,234,567 bytes, sha256 abab" in captured.err
    assert "at most 2.0e-06" in captured.err
    assert asked == [("tiny", out)]


def test_quiet_prints_the_path_alone(
    asked: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --weights the bundled model is exported."""
    assert _run("--out", tmp_path / "m.onnx", "--quiet") == 0
    assert capsys.readouterr() == (f"{tmp_path / 'm.onnx'}\n", "")
    assert asked[0][0].startswith("ncl-lite")


def test_an_unknown_format_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the one that there is."""
    assert _run("--format", "tflite", "--out", "m.tflite") == 2
    assert "onnx" in capsys.readouterr().err


def test_a_folder_ends_with_19(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As every result that cannot be written."""
    (tmp_path / "m.onnx").mkdir()
    assert _run("--out", tmp_path / "m.onnx") == 19
    assert "is a folder" in capsys.readouterr().err
