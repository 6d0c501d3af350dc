"""What a user reads is complete: help texts, the README, and the exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

import nclforensics
from nclforensics import errors
from nclforensics.cli.app import EXIT_CODES, app
from nclforensics.errors import NclfError

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(nclforensics.__file__).parent.parent / "README.md"


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer hides its Click
    """Yield every command with its name as it is typed, such as "kernels info"; a group is its commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


ROOT: Any = typer.main.get_command(app)
GROUPS = {name: command for name, command in ROOT.commands.items() if hasattr(command, "commands")}
COMMANDS: dict[str, Any] = dict(_commands(ROOT))
SHOWN = [name for name, command in COMMANDS.items() if not command.hidden]


def _parameters() -> Iterator[tuple[str, Any]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            yield f"{name} {max(parameter.opts, key=len)}", parameter


PARAMETERS = dict(_parameters())


def test_the_commands_are_known_here() -> None:
    """The tests below look at every command, those of groups too, and at the hidden alias."""
    assert set(SHOWN) >= {"scan", "train", "eval", "forge", "kernels info", "kernels build"}
    assert set(COMMANDS) - set(SHOWN) == {"evaluate"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """One sentence says what it does."""
    assert re.fullmatch(r"[A-Z].*\.", (COMMANDS[name].help or "").splitlines()[0])


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_has_help(name: str) -> None:
    """One sentence says what its commands are about."""
    assert re.fullmatch(r"[A-Z].*\.", GROUPS[name].help or "")


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_has_an_example(name: str) -> None:
    """The last lines of its help show how it is called."""
    assert f"nclf {name} " in COMMANDS[name].epilog


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_option_has_help(name: str) -> None:
    """Each option and argument is explained in at least a few words."""
    text = PARAMETERS[name].help or ""
    assert len(text.split()) >= 2


@pytest.mark.parametrize("name", PARAMETERS)
def test_options_are_spelled_alike(name: str) -> None:
    """Options have long names in lower case with hyphens."""
    options = [option for option in PARAMETERS[name].opts if option.startswith("-")]
    assert all(re.fullmatch(r"--[a-z][a-z0-9-]+|-[a-z]", option) for option in options)


@pytest.mark.parametrize("name", SHOWN)
def test_the_readme_shows_every_command(name: str) -> None:
    """A reader of the README learns of every command."""
    assert re.search(rf"\bnclf {name}\b", README.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHOWN)
def test_several_examples_have_a_line_each(name: str) -> None:
    """On one line, whatever stands between them would read as a part of the command."""
    assert not COMMANDS[name].epilog.startswith("Examples: ")


def _unknown_options(text: str) -> list[str]:
    """Return the options in lines that call a command which that command does not have."""
    unknown = []
    for first, second, rest in re.findall(r"\bnclf ([a-z]+)\b(?: ([a-z]+)\b)?([^\n|`#]*)", text.replace("\\\n", " ")):
        name = f"{first} {second}" if first in GROUPS else first
        if name in COMMANDS:
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help", "-h"}
            passed = re.findall(r"(?<=\s)(--[a-z][a-z0-9-]*|-[a-zA-Z])\b", rest)
            unknown += [f"nclf {name} {option}" for option in passed if option not in known]
    return unknown


@pytest.mark.parametrize("name", SHOWN)
def test_examples_use_only_options_that_exist(name: str) -> None:
    """What the help shows can be typed."""
    assert _unknown_options(COMMANDS[name].epilog) == []


def test_the_readme_uses_only_options_that_exist() -> None:
    """What the README shows can be typed."""
    assert _unknown_options(README.read_text(encoding="utf-8")) == []


def test_unknown_options_are_found() -> None:
    """The check sees long and short options, continued lines, pipes, and commands of groups."""
    text = "x | nclf scan a --out b --bogus \\\n  -q --nope=3 | jq --other\n`nclf forge -Z`\nnclf data list -y"
    assert _unknown_options(text) == ["nclf scan --bogus", "nclf scan --nope", "nclf forge -Z", "nclf data list -y"]


def test_help_lists_every_exit_code_of_an_error() -> None:
    """The codes at the end of `nclf --help` are those of errors.py, each with what it means."""
    listed = {int(code) for code in re.findall(r"\b(\d+) [a-z]", EXIT_CODES)}
    raised = {
        kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NclfError)
    }
    ends = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert raised <= listed
    assert listed - raised <= ends | {0, 1, 141}
