"""The boundary: errors become messages and exit codes here, and nowhere else."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from typer.main import get_command

import nclforensics
from nclforensics import errors
from nclforensics.cli import app as app_module
from nclforensics.cli.app import main
from nclforensics.errors import NclfError
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    assert isinstance(end.value.code, int)
    return end.value.code


def _fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(app_module, "app", fail)


def _subclasses(kind: type[NclfError]) -> list[type[NclfError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in _subclasses(direct))]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`nclf --version` prints the package's version to stdout."""
    assert _run("--version") == 0
    assert capsys.readouterr().out == f"nclf {nclforensics.__version__}\n"


@pytest.mark.parametrize("kind", _subclasses(NclfError), ids=lambda kind: kind.__name__)
def test_each_error_ends_with_its_code(
    kind: type[NclfError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message goes to stderr after the program's name, without a traceback."""
    _fail_with(kind("What was found."), monkeypatch)
    assert _run() == kind.exit_code
    assert capsys.readouterr() == ("", "nclf: What was found.\n")


@pytest.mark.parametrize(
    ("argv", "where"),
    [
        (["scan", "photos", "--out", ""], "--out"),
        (["scan", "photos", "--out="], "--out"),
        (["scan", "", "--out", "masks"], "scan"),
        (["report", ""], "report"),
    ],
)
def test_an_empty_argument_ends_with_2(argv: list[str], where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a shell makes of a variable that is not set is not the current folder."""
    assert _run(*argv) == 2
    expected = f"nclf: Expected a value after {where}, got an empty string. Is a shell variable not set?\n"
    assert capsys.readouterr() == ("", expected)


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell expects of Ctrl-C."""
    _fail_with(KeyboardInterrupt(), monkeypatch)
    assert _run() == errors.EXIT_INTERRUPTED


def test_a_bug_ends_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors are not dressed up: Python prints them and ends with 1."""
    _fail_with(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        main([])


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP])
def test_a_place_that_may_not_be_looked_at_ends_with_11(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it is met; the message names it."""
    _fail_with(OSError(number, "No entry", "closed/a.jpg"), monkeypatch)
    assert _run() == 11
    expected = "nclf: Cannot look at closed/a.jpg: No entry. Name another, or get the right to read it.\n"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error", "a.jpg"), OSError(errno.EACCES, "No entry")]
)
def test_other_errors_of_the_system_are_bugs(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody expected, or that names no place."""
    _fail_with(error, monkeypatch)
    with pytest.raises(OSError, match=error.strerror):
        main([])


LONG: Final = "x" * 300


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["scan", "photos", "--out", "masks", "--weights", LONG], 13),
        (["selftest", "--weights", LONG], 13),
        (["export", "--out", f"{LONG}.onnx"], 19),
        (["eval", LONG], 11),
        (["eval", "~nobody-of-that-name/set"], 11),
        (["eval", "casia:~nobody-of-that-name/set"], 15),
        (["data", "check", LONG], 11),
        (["data", "list", "--data-root", LONG], 11),
        (["train", "--photos", LONG, "--steps", "1", "--out", "run"], 11),
        (["forge", "--photos", LONG, "--out", "set"], 11),
    ],
    ids=lambda value: " ".join(value).replace(LONG, "LONG") if isinstance(value, list) else "",
)
def test_a_name_that_no_file_can_have_is_no_bug(
    argv: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command says so in a line, with the exit code of what is missing."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert _run(*argv) == code
    assert capsys.readouterr().err.startswith("nclf: ")


def test_an_unknown_option_ends_with_2() -> None:
    """Typer's usage errors keep their code."""
    assert _run("scan", "--no-such-option") == 2


@pytest.mark.parametrize("command", ["scan", "train", "eval", "forge"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself and its options."""
    assert _run(command, "--help") == 0
    assert "Options" in capsys.readouterr().out


def _commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's own classes
    """Yield every command with the arguments that name it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, *path, name)


def test_help_shows_what_stands_in_square_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of an extra, or of a table of a file, is no markup, whatever command's help it stands in."""
    for path, command in _commands(get_command(app_module.app)):
        assert _run(*path, "--help") == 0
        written = [command.help, command.epilog, *(getattr(option, "help", None) for option in command.params)]
        bracketed = {name for text in written for name in re.findall(r"\[[^\]]*\]", text or "")}
        shown = "".join(capsys.readouterr().out.split())
        assert {name for name in bracketed if "".join(name.split()) not in shown} == set(), path


def test_lists_of_commands_are_not_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of such a list is a whole sentence."""
    for path, command in _commands(get_command(app_module.app)):
        if hasattr(command, "commands"):
            assert _run(*path, "--help") == 0
            assert "...\n" not in capsys.readouterr().out.partition("Commands:")[2], path


def test_help_names_the_extras(capsys: pytest.CaptureFixture[str]) -> None:
    """What to install can be copied from it."""
    extras = {"scan": "nclforensics[ray]", "export": "nclforensics[onnx]", "forge": "table [forge]"}
    for command, extra in extras.items():
        assert _run(command, "--help") == 0
        assert extra in " ".join(capsys.readouterr().out.split())


def test_help_loads_no_torch() -> None:
    """Torch takes seconds to load; asking for help must not."""
    code = (
        "import sys; from nclforensics.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'cv2', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_crash() -> None:
    """`nclf ... | head` ends without a traceback."""
    code = (
        "import os; from nclforensics.cli.console import print_result; import nclforensics.cli.app as a\n"
        "def app(**_):\n"
        "    for _ in range(100000): print_result('x' * 100)\n"
        "a.app = app\n"
        "a.main([])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_control_characters_of_file_names_are_escaped() -> None:
    """A hostile file name cannot recolour or rewrite the terminal; letters of any language stay."""
    assert printable("a\x1b[31m\n\udc80\u00e9") == "a\\x1b[31m\\n\\udc80\u00e9"


def test_the_shell_completes_options() -> None:
    """What a shell asks, with the start of an option, is answered with the whole of it."""
    environment = {**os.environ, "_NCLF_COMPLETE": "complete_bash", "COMP_WORDS": "nclf scan --res", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "nclforensics"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["--resume"]
