from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders import LOADERS
from nclforensics.data.sets import load_set, located
from nclforensics.errors import DatasetError, MissingInputError
from tests.data.loaders.miniatures import columbia, coverage, photos
from tests.data.loaders.miniatures import masks as mask_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the data sets of whoever runs the tests out of them, and relative paths inside the test's folder."""
    monkeypatch.delenv("NCLF_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def mani_dataset(folder: Path) -> Path:
    """Write a ManiDataset of one image."""
    photos(folder / "Tp", "a.jpg")
    mask_files(folder / "Gt", "a.png")
    return folder


def test_benchmark_is_loaded_by_name(tmp_path: Path) -> None:
    """Name and data root give the benchmark with its facts."""
    root = columbia(tmp_path / "data" / "Columbia")
    loaded = load_set("columbia", data_root=tmp_path / "data")
    assert (loaded.root, loaded.facts) == (root, LOADERS["columbia"].facts)


def test_benchmark_is_loaded_from_a_folder_of_another_name(tmp_path: Path) -> None:
    """NAME:PATH says what lies there."""
    root = columbia(tmp_path / "somewhere")
    loaded = load_set(f"Columbia:{root}")
    assert (loaded.name, loaded.root) == ("columbia", root)
    with pytest.raises(DatasetError, match=r"Columbia Uncompressed at .*none, found no such folder"):
        load_set(f"columbia:{tmp_path / 'none'}")


def test_path_is_preferred_to_a_benchmark(tmp_path: Path) -> None:
    """A folder that exists is what a user at this prompt means."""
    columbia(tmp_path / "data" / "columbia")
    mani_dataset(tmp_path / "columbia")
    assert [pair.image.name for pair in load_set("columbia", data_root=tmp_path / "data").pairs] == ["a.jpg"]


def test_folder_named_like_a_benchmark_is_read_as_one(tmp_path: Path) -> None:
    """Its colour masks would be misread as a general layout."""
    loaded = load_set(str(columbia(tmp_path / "Columbia")))
    assert {pair.mask_rule for pair in loaded.pairs if pair.mask} == {"green-over-red"}


def test_manifest_wins_over_the_name_of_its_folder(tmp_path: Path) -> None:
    """Somebody wrote down what belongs to the set."""
    root = coverage(tmp_path / "coverage")
    (root / "manifest.csv").write_text("image,mask\nimage/2t.tif,mask/2forged.tif\n")
    assert [pair.image.name for pair in load_set(str(root)).pairs] == ["2t.tif"]


def test_unknown_layout_in_a_named_folder_tells_the_benchmarks_layout(tmp_path: Path) -> None:
    """The error shows the tree that was expected."""
    (tmp_path / "coverage").mkdir()
    with pytest.raises(DatasetError, match="1forged"):
        load_set("coverage")


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_missing_benchmark_is_explained(name: str) -> None:
    """Where it was looked for, the tree, the counts, the publisher, the terms, and how to say where it lies."""
    facts = LOADERS[name].facts
    with pytest.raises(DatasetError) as caught:
        load_set(name)
    text = str(caught.value)
    for line in (*facts.tree.splitlines(), facts.publisher, facts.terms, f"{facts.tampered:,} tampered"):
        assert line in text
    for word in ("nowhere", "nothing is downloaded", "--data-root", "NCLF_DATA", "data.toml", f"{facts.name}:PATH"):
        assert word in text


def test_unknown_name_is_missing_input(tmp_path: Path) -> None:
    """A typing error gets the nearest name; a path that is not there is said to be one."""
    with pytest.raises(MissingInputError, match="Did you mean coverage"):
        load_set("covrage")
    with pytest.raises(MissingInputError, match="no such file or folder"):
        load_set(str(tmp_path / "none" / "set.json"))


def test_located_spec_needs_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored with a training run finds the same folder without the option and the variable."""
    root = columbia(tmp_path / "data" / "columbia")
    monkeypatch.setenv("NCLF_DATA", str(tmp_path / "data"))
    spec = located("Columbia")
    monkeypatch.delenv("NCLF_DATA")
    assert spec == f"columbia:{root}"
    assert load_set(spec).root == root
    assert located(str(root)) == str(root)
