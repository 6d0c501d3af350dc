from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.roots import data_places, find_root, user_file
from nclforensics.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the data sets of whoever runs the tests out of them."""
    monkeypatch.delenv("NCLF_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def folder(path: Path) -> Path:
    """Make a folder."""
    path.mkdir(parents=True)
    return path


def write_user_file(*lines: str) -> None:
    """Write the user's own list."""
    user_file().parent.mkdir(parents=True)
    user_file().write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("name", ["casiav2", "CASIA 2.0", "CASIA2.0_revised", "casia"])
@pytest.mark.parametrize("asked", ["casiav2", "casia", "CASIA2"])
def test_folder_may_bear_any_of_the_names(tmp_path: Path, name: str, asked: str) -> None:
    """Whatever the set is called by its owners, by papers or by us, its folder is found by any of these names."""
    root = folder(tmp_path / "data" / name)
    folder(tmp_path / "data" / "casiav1")
    assert find_root(asked, data_root=tmp_path / "data") == root


def test_casia_v1_plus_is_not_casia_v1(tmp_path: Path) -> None:
    """The plus sign is part of the name."""
    root = folder(tmp_path / "CASIAv1+")
    assert find_root("casiav1", data_root=tmp_path) is None
    assert find_root("casiav1plus", data_root=tmp_path) == root


def test_places_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over the variable, and the variable over the user's file."""
    roots = [folder(tmp_path / place / "coverage") for place in ("option", "variable", "file")]
    write_user_file(f'coverage = "{roots[2]}"')
    assert find_root("coverage") == roots[2]
    monkeypatch.setenv("NCLF_DATA", str(tmp_path / "variable"))
    assert find_root("coverage") == roots[1]
    assert find_root("coverage", data_root=tmp_path / "option") == roots[0]


def test_set_that_one_place_lacks_is_looked_for_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for one run does not hide the sets that lie elsewhere."""
    root = folder(tmp_path / "variable" / "columbia")
    monkeypatch.setenv("NCLF_DATA", str(tmp_path / "variable"))
    assert find_root("columbia", data_root=folder(tmp_path / "option")) == root
    assert find_root("coverage", data_root=tmp_path / "option") is None


def test_variable_may_name_a_toml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in it start at the file, or at the home folder; names may be aliases."""
    folder(tmp_path / "sets" / "any name")
    folder(tmp_path / "home" / "cov")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    listed = tmp_path / "sets" / "mine.toml"
    listed.write_text('casia = "any name"\nCOVER = "~/cov"\n')
    monkeypatch.setenv("NCLF_DATA", str(listed))
    assert find_root("casiav2") == tmp_path / "sets" / "any name"
    assert find_root("coverage") == tmp_path / "home" / "cov"
    assert find_root("columbia") is None


def test_without_a_place_nothing_is_found() -> None:
    """No folder is guessed."""
    assert data_places() == ()
    assert find_root("casia") is None


def test_place_that_does_not_exist_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped folder is not the same as a missing set."""
    with pytest.raises(DatasetError, match=r"none \(--data-root\)"):
        find_root("casia", data_root=tmp_path / "none")
    monkeypatch.setenv("NCLF_DATA", str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="NCLF_DATA"):
        find_root("casia")


def test_two_fitting_folders_are_an_error(tmp_path: Path) -> None:
    """Which of two copies is meant is not for us to choose."""
    folder(tmp_path / "CASIA2")
    folder(tmp_path / "casiav2")
    with pytest.raises(DatasetError, match="casia:PATH"):
        find_root("casia", data_root=tmp_path)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ('casai = "x"', ConfigError, "casai = 'x'"),
        ("casia = 2", ConfigError, "casia = 2"),
        ("casia = ", ConfigError, "Cannot read"),
        ('casia = "nowhere"', DatasetError, "nowhere, as .*data.toml says"),
    ],
)
def test_faulty_lists_are_named(line: str, error: type[Exception], message: str) -> None:
    """An unknown name, a value that is no path, bad TOML and a folder that is not there."""
    write_user_file(line)
    with pytest.raises(error, match=message):
        find_root("casia")
