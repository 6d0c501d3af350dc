"""The package keeps its shape: imports point inward, and files and functions stay small."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import nclforensics

PACKAGE = Path(nclforensics.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = PACKAGE.parent / "pyproject.toml"

FOUNDATION = {"config", "config_tables", "results", "errors"}
CORE = {"networks", "patches", "losses", "data", "metrics", "reports", "matching"}
MAY_IMPORT = {
    # Commands load a model and read a list of images themselves; what is computed with them is a pipeline's business.
    # `nclf kernels` shows and fills what belongs to an op alone.
    "cli": {"cli", "pipelines", "reports", "networks", "data", "ops"} | FOUNDATION,
    "pipelines": {"pipelines"} | CORE | FOUNDATION,
    "losses": {"losses", "ops"} | FOUNDATION,
    "ops": {"ops"} | FOUNDATION,
    **{part: {part} | FOUNDATION for part in CORE - {"losses"}},
    **{part: FOUNDATION - {part} for part in FOUNDATION},
    # The package's face and its two entry points may show anything.
    "__init__": {"cli", "pipelines"} | CORE | FOUNDATION,
    "__main__": {"cli"},
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "base"}

OWNERS = packages_distributions()  # top-level module -> the distributions it comes from

every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])


def _imported_modules(tree: ast.AST) -> set[str]:
    """Return the dotted names that are imported anywhere, in functions and for type checking too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _imported_parts(path: Path) -> set[str]:
    """Return the parts of this package that a file imports."""
    modules = _imported_modules(ast.parse(path.read_text(encoding="utf-8")))
    ours = {name.split(".")[1] for name in modules if name.startswith("nclforensics.")}
    return ours - {"__version__"}


@every_file
def test_imports_point_inward(path: Path) -> None:
    """A file imports only from its own part and from the parts beneath it; a part nobody listed is an error."""
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert _imported_parts(path) <= MAY_IMPORT[part]


@every_file
def test_files_stay_short(path: Path) -> None:
    """Nobody has to scroll through more than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from `def` to the end, less the docstring's."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


@every_file
def test_functions_stay_short(path: Path) -> None:
    """A function, its docstring left out, has at most 60 lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    too_long = {function.name: _body_lines(function) for function in functions}
    assert {name: lines for name, lines in too_long.items() if lines > LONGEST_FUNCTION} == {}


@every_file
def test_modules_are_named_for_what_they_do(path: Path) -> None:
    """No drawer for odds and ends, and no module that hides one of the standard library's."""
    name = path.parent.name if path.stem == "__init__" else path.stem
    assert name not in VAGUE
    assert name.lstrip("_") == name or name == "__main__"
    assert path.parent.name != "nclforensics" or name not in sys.stdlib_module_names


@every_file
def test_source_is_ascii(path: Path) -> None:
    """Every editor and terminal shows the source as it is."""
    assert path.read_bytes().isascii()


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _declared_packages() -> set[str]:
    """Return the names of all dependencies, extras included but for the one that only tests need."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = [item for name, extra in project["optional-dependencies"].items() if name != "test" for item in extra]
    return {_normal(re.split(r"[<>=!~\[; ]", item)[0]) for item in project["dependencies"] + extras}


@every_file
def test_third_party_imports_are_declared(path: Path) -> None:
    """Whatever a file imports is Python's, ours, or a dependency of pyproject.toml."""
    modules = {name.split(".")[0] for name in _imported_modules(ast.parse(path.read_text(encoding="utf-8")))}
    foreign = modules - sys.stdlib_module_names - {"nclforensics", "__future__"}
    declared = _declared_packages()
    undeclared = {name for name in foreign if not {_normal(owner) for owner in OWNERS.get(name, [])} & declared}
    assert undeclared == set()


def test_lowest_versions_are_those_that_pyproject_allows() -> None:
    """constraints-lowest.txt, which CI installs by, has every dependency's lower bound; torch is the tested build."""

    def pins(name: str) -> dict[str, str]:
        lines = (PYPROJECT.parent / name).read_text().splitlines()
        return dict(line.split("==") for line in lines if not line.startswith("#"))

    declared = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    bounds = dict(dependency.split(">=") for dependency in declared)
    lowest = pins("constraints-lowest.txt")
    assert lowest.keys() == bounds.keys()
    assert lowest.pop("torch") == pins("constraints.txt")["torch"]
    assert [name for name in lowest if not f"{lowest[name]}.".startswith(f"{bounds[name]}.")] == []


def test_help_loads_no_heavy_library() -> None:
    """`nclf --help` answers at once: the command line does not import torch or OpenCV before a command runs."""
    code = (
        "import sys, nclforensics.cli.app; print(*sorted({'torch', 'cv2', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == ""


def test_the_import_test_sees_every_form(tmp_path: Path) -> None:
    """The walk finds plain, late, aliased and type-checking imports alike."""
    source = tmp_path / "module.py"
    source.write_text(
        "import nclforensics.cli.app\nfrom nclforensics import data as d\n"
        "if TYPE_CHECKING:\n    from nclforensics.ops import x\n"
        "def f():\n    from nclforensics.metrics.pixel import y\n"
    )
    assert _imported_parts(source) == {"cli", "data", "ops", "metrics"}
