from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nclforensics.data.formats import read_generic
from nclforensics.data.manifest import ImagePair, write_manifest
from nclforensics.errors import DatasetError, MissingInputError

if TYPE_CHECKING:
    from pathlib import Path


def pair_in(folder: Path) -> ImagePair:
    """Make two empty files and return them as a pair."""
    (folder / "a.jpg").touch()
    (folder / "m.png").touch()
    return ImagePair(folder / "a.jpg", folder / "m.png", authentic=False)


@pytest.mark.parametrize("name", ["set.json", "set.JSON", "set.txt", "set.csv", "manifest.csv"])
def test_layout_is_recognized_by_the_file(tmp_path: Path, name: str) -> None:
    """The suffix tells a JsonDataset from an MVSS list and a manifest; a folder with a manifest is one."""
    pair, path = pair_in(tmp_path), tmp_path / name
    if name.casefold().endswith(".json"):
        path.write_text(json.dumps([["a.jpg", "m.png"]]))
    elif name.endswith(".txt"):
        path.write_text("a.jpg m.png 1\n")
    else:
        write_manifest([pair], path)
    place = tmp_path if name == "manifest.csv" else path
    assert read_generic(place).pairs == (pair,)


def test_unknown_places_are_refused(tmp_path: Path) -> None:
    """A path that does not exist is a missing input; a folder without a layout is an invalid set."""
    with pytest.raises(MissingInputError):
        read_generic(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"manifest\.csv, or the folders Tp and Gt, .* found neither"):
        read_generic(tmp_path)
