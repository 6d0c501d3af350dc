"""The package exports exactly its public names."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

import nclforensics


def test_all_is_sorted() -> None:
    """A reader finds a name, and a diff shows one line."""
    assert nclforensics.__all__ == sorted(set(nclforensics.__all__))


@pytest.mark.parametrize("name", nclforensics.__all__)
def test_every_exported_name_exists(name: str) -> None:
    """Names that are loaded only when asked for exist too."""
    assert getattr(nclforensics, name) is not None


def test_every_public_name_is_exported() -> None:
    """What can be reached without an underscore is meant to be."""
    public = {
        name
        for name, value in vars(nclforensics).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert public <= set(nclforensics.__all__)


def test_star_import_gives_what_is_exported() -> None:
    """`from nclforensics import *` works and brings no more than that."""
    names: dict[str, object] = {}
    exec("from nclforensics import *", names)  # noqa: S102 - the statement cannot be written in a function
    assert set(names) - {"__builtins__"} == set(nclforensics.__all__)


def test_the_version_is_one_that_packaging_accepts() -> None:
    """The build reads it from the source."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", nclforensics.__version__)
