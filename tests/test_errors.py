"""Every error is documented with its exit code, and raised somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nclforensics
from nclforensics import errors
from nclforensics.errors import NclfError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(nclforensics.__file__).parent
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NclfError)]
CONSTANTS = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
TREE_LINE = re.compile(r"^ {4}(?P<indent>[| +-]*)(?P<name>\w+Error)\b.*? (?P<code>\d+) {3}\S", re.MULTILINE)
every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def _raised(path: Path) -> Iterator[str]:
    """Yield the names of the classes that a file raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(target, ast.Name):
                yield target.id


RAISED = {name for path in PACKAGE.rglob("*.py") for name in _raised(path)}


@every_class
def test_every_error_is_raised_somewhere(kind: type[NclfError]) -> None:
    """No class is left over; the root is too vague to be raised."""
    assert (kind.__name__ in RAISED) == (kind is not NclfError)


def test_the_docstring_draws_the_tree() -> None:
    """The drawing has every class, its exit code, and its parent one step to the left."""
    drawn: dict[str, tuple[int, str | None]] = {}
    above: list[str] = []
    for line in TREE_LINE.finditer(errors.__doc__ or ""):
        depth = len(line["indent"]) // 4
        above = [*above[:depth], line["name"]]
        drawn[line["name"]] = (int(line["code"]), above[-2] if depth else None)
    parents = {kind: next((base.__name__ for base in kind.__bases__ if base in CLASSES), None) for kind in CLASSES}
    assert drawn == {kind.__name__: (kind.exit_code, parents[kind]) for kind in CLASSES}


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_exit_code_is_documented(name: str) -> None:
    """The codes that no error carries are in the docstring too."""
    text = (errors.__doc__ or "").split("The command line ends", maxsplit=1)[1]
    assert re.search(rf"\b{CONSTANTS[name]} \S", text)


def test_exit_codes_do_not_collide() -> None:
    """A script can tell an error from every other way to end, and 1 stays Python's own code for a bug."""
    codes = {kind.exit_code for kind in CLASSES} - {1}
    assert not codes & set(CONSTANTS.values())
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)
    assert {kind for kind in CLASSES if kind.exit_code == 1} == {NclfError, ShapeError}


def test_a_shape_error_is_a_value_error() -> None:
    """Callers of the library may catch what they would expect of a wrong argument."""
    assert issubclass(ShapeError, ValueError)


@every_class
def test_every_error_says_what_it_means(kind: type[NclfError]) -> None:
    """Each class has a docstring of its own."""
    assert kind.__dict__["__doc__"]
