"""`nclf report`: options, streams and exit codes, through `main`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nclforensics.cli.app import main
from tests.scan_runs import make_finding, make_skipped, write_run


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a scan's folder `out` in it; return that."""
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "out", [make_finding(), make_skipped()])


def _report(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["report", *argv])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_page_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """It lies in the scan's folder; its name goes to stderr."""
    assert _report("out") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == "Report: out/report.html"
    assert Path("out/report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["a.csv", "b.json", "c.pdf", "d.html"])
def test_the_name_of_the_file_says_the_format(name: str) -> None:
    """No need to say it twice."""
    starts = {".csv": b"image,", ".json": b'{\n  "schema_version"', ".pdf": b"%PDF", ".html": b"<!DOCTYPE"}
    assert _report("out", "--out", name, "--quiet") == 0
    assert Path(name).read_bytes().startswith(starts[Path(name).suffix])


def test_a_name_that_contradicts_the_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A PDF named .html would not open."""
    assert _report("out", "--format", "pdf", "--out", "a.html") == 2
    assert "--format pdf" in capsys.readouterr().err
    assert not Path("a.html").exists()


def test_data_can_be_piped(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the report is on stdout, the same as in the file."""
    for kind in ("csv", "json"):
        assert _report("out", "--format", kind, "--out", "-") == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert _report("out", "--format", kind, "--quiet") == 0
        assert Path(f"out/report.{kind}").read_text() == printed.out
    assert len(json.loads(Path("out/report.json").read_text())["images"]) == 2


@pytest.mark.parametrize("argv", [("-f", "csv", "-o", "-"), ("-f", "csv"), ("-f", "html", "--quiet")])
def test_a_scan_that_is_not_complete_is_told_on_stderr(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A table has no place for it, and looks complete; quiet means less, not hidden."""
    first = Path("out/results.jsonl").read_text().splitlines(keepends=True)[0]
    Path("out/results.jsonl").write_text(first)
    assert _report("out", *argv) == 0
    captured = capsys.readouterr()
    assert "Note: The scan is not complete: 1 of 2 images have a record" in captured.err
    assert "Note: The records are not those that run.json counts" in captured.err
    assert "not complete" not in captured.out


def test_a_page_cannot_be_piped(capsys: pytest.CaptureFixture[str]) -> None:
    """It may need files beside it."""
    assert _report("out", "--out", "-") == 2
    assert "csv or json" in capsys.readouterr().err


def test_a_folder_that_is_no_scan_ends_with_11() -> None:
    """As a missing input does everywhere."""
    assert _report(".") == 11


@pytest.mark.parametrize("kind", ["html", "csv", "json", "pdf"])
def test_a_record_of_another_kind_ends_with_11(kind: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And in words, whatever the format."""
    write_run(run, [make_finding()], case=123)
    assert _report("out", "--format", kind) == 11
    assert "Expected the record of a scan as this version of nclf writes it" in capsys.readouterr().err
