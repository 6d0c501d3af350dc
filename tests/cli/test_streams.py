"""Standard streams that are closed, full or read by nobody: the exit code says so, and no traceback does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nclforensics.pipelines.outputs import encode_png
from tests.factories import make_image
from tests.scan_runs import make_skipped, write_run
from tests.tiny_model import write_model

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="a device that is always full exists on Linux only")
HELP = ["--help"]
LIST = ["data", "list"]


def _shell(arguments: list[str], redirection: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `nclf` under a shell that redirects or closes its streams."""
    command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "nclforensics", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603


def _without_reader(arguments: list[str], *, folder: Path, both: bool = False) -> tuple[int, str]:
    """Run `nclf` with a stdout, and perhaps a stderr, that nobody reads; return its code and what else it wrote."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "nclforensics", *arguments]
    errors = writer if both else subprocess.PIPE
    done = subprocess.run(command, stdout=writer, stderr=errors, text=True, check=False, cwd=folder)  # noqa: S603
    os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.fixture
def scan(tmp_path: Path) -> list[str]:
    """Return the arguments of a scan of one small photo with a tiny model."""
    write_model(tmp_path / "tiny")
    (tmp_path / "a.png").write_bytes(encode_png(make_image(80, 96)))
    return ["scan", "a.png", "--out", "out", "--weights", "tiny", "--device", "cpu"]


@pytest.mark.parametrize("arguments", [HELP, ["scan", "--help"], LIST, ["--version"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_with_141(arguments: list[str], tmp_path: Path) -> None:
    """Help and tables too, which typer and rich write."""
    assert _without_reader(arguments, folder=tmp_path) == (141, "")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["scan", "gone", "--out", "out"], 11), (["scan", "--no-such-option"], 2)], ids=["11", "2"]
)
def test_a_message_that_nobody_reads_changes_no_code(arguments: list[str], code: int, tmp_path: Path) -> None:
    """`2>&1 | true` ends as without it."""
    assert _without_reader(arguments, folder=tmp_path, both=True) == (code, "")


@needs_full
@pytest.mark.parametrize("arguments", [HELP, LIST, ["kernels", "info", "--json"]], ids=" ".join)
def test_a_full_stdout_ends_with_19(arguments: list[str], tmp_path: Path) -> None:
    """As any result that cannot be written."""
    done = _shell(arguments, f">{FULL}", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (19, 1)
    assert "Cannot write to stdout: No space left on device" in done.stderr


def test_a_closed_stdout_ends_with_19(tmp_path: Path) -> None:
    """If there is a result to write."""
    done = _shell(LIST, ">&-", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (19, 1)
    assert "Cannot write to stdout: it is closed" in done.stderr


@pytest.mark.parametrize(
    "redirection", [pytest.param(f"2>{FULL}", marks=needs_full), "2>&-", "<&- >&- 2>&-"], ids=["full", "closed", "all"]
)
def test_a_scan_does_not_need_its_messages(scan: list[str], redirection: str, tmp_path: Path) -> None:
    """It ends with 0, and no file took the place of a closed stream: records hold records."""
    assert _shell([*scan, "--verbose"], redirection, folder=tmp_path).returncode == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "finished"
    (line,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == "a.png"


def test_a_scan_whose_records_nobody_can_get_ends_with_19(scan: list[str], tmp_path: Path) -> None:
    """They were asked for."""
    done = _shell([*scan, "--json", "--quiet"], ">&-", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (19, 1)


def test_a_list_on_a_closed_stdin_ends_with_2(tmp_path: Path) -> None:
    """There is nothing to wait for."""
    done = _shell(["scan", "-", "--out", "out"], "<&-", folder=tmp_path)
    assert done.returncode == 2
    assert "stdin is closed" in done.stderr


@pytest.mark.parametrize(
    ("encoding", "arguments", "code"),
    [("ascii", ["report", "--format", "csv", "--out", "-"], 0), ("latin-1", ["verify", "--sample", "0"], 20)],
)
def test_names_beyond_the_encoding_are_escaped(encoding: str, arguments: list[str], code: int, tmp_path: Path) -> None:
    """The result is written all the same, and the command ends as it would anywhere."""
    name = "\u65e5\u672c"
    write_run(tmp_path / name, [make_skipped(f"{name}.jpg")])
    command = [sys.executable, "-m", "nclforensics", arguments[0], name, *arguments[1:]]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)  # noqa: S603
    assert done.returncode == code
    assert b"\\u65e5\\u672c" in done.stdout
    assert b"Traceback" not in done.stderr
