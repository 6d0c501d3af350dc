from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.images import read_samples
from nclforensics.data.sets import load_set
from nclforensics.errors import DatasetError, OutputError
from nclforensics.pipelines.data_convert import convert_pairs
from nclforensics.pipelines.dataset_check import check_pairs, ground_truth_of_size
from tests.data.loaders.miniatures import columbia, coverage
from tests.planted_sets import planted_set

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.pipelines.data_convert import Layout

MINIATURES = {"columbia": columbia, "coverage": coverage}
every_layout = pytest.mark.parametrize("layout", ["manifest", "json", "mani"])


@every_layout
@pytest.mark.parametrize("name", ["columbia", "coverage", "dso-1"])
def test_converted_set_reads_back(tmp_path: Path, layout: Layout, name: str) -> None:
    """Colours, another size and inverted masks come back as plain masks of the same region, of the image's size."""
    root = MINIATURES[name](tmp_path / "set") if name in MINIATURES else planted_set(name, tmp_path / "set", "none")
    pairs = check_pairs(load_set(f"{name}:{root}").pairs).usable

    written = convert_pairs(pairs, layout, tmp_path / "out")

    loaded = load_set(str(written))
    assert [each for each in loaded.anomalies if each.severity != "note"] == []
    assert [pair.authentic for pair in loaded.pairs] == [pair.authentic for pair in pairs]
    for before, after in zip(pairs, loaded.pairs, strict=True):
        assert after.image.name.endswith(before.image.name)
        assert np.array_equal(read_samples(before.image), read_samples(after.image))
        if before.authentic:
            assert after.mask is None
            continue
        mask = read_ground_truth(after)
        assert np.array_equal(ground_truth_of_size(before, (mask.shape[0], mask.shape[1])), mask)
        assert after.mask is not None
        assert mask.shape == read_samples(after.image).shape[:2]
        assert set(np.unique(read_samples(after.mask))) <= {0, 255}


def test_manifest_keeps_kind_and_group(tmp_path: Path) -> None:
    """A split of the converted set keeps base images together as well."""
    pairs = load_set(f"coverage:{coverage(tmp_path / 'set')}").pairs
    convert_pairs(pairs, "manifest", tmp_path / "out")
    loaded = load_set(str(tmp_path / "out"))
    assert [(pair.kind, pair.group) for pair in loaded.pairs] == [(pair.kind, pair.group) for pair in pairs]


@every_layout
def test_nothing_is_overwritten(tmp_path: Path, layout: Layout) -> None:
    """A folder that holds anything is refused, and stays as it is."""
    pairs = load_set(f"coverage:{coverage(tmp_path / 'set')}").pairs
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="empty or new folder"):
        convert_pairs(pairs, layout, out)
    assert [path.name for path in out.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("layout", ["manifest", "json"])
def test_a_name_that_no_list_can_hold_is_refused(tmp_path: Path, layout: Layout) -> None:
    """It is told before anything is written, so that a second try does not find the folder taken."""
    pairs = load_set(f"columbia:{columbia(tmp_path / 'set')}").pairs
    odd = pairs[-1].image.rename(pairs[-1].image.with_name(os.fsdecode(b"lat\xe9.jpg")))
    with pytest.raises(DatasetError, match=r"lat\\udce9\.jpg'\. Rename it, or convert with --to mani"):
        convert_pairs([*pairs[:-1], replace(pairs[-1], image=odd)], layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
