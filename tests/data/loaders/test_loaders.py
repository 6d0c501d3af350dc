from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.ground_truth import MASK_RULES
from nclforensics.data.loaded_set import ANOMALIES
from nclforensics.data.loaders import LOADERS, loader_named
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import casia_v1, casia_v2, columbia, coverage, imd2020, nist16

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINIATURES = {
    "casiav1": casia_v1,
    "casiav2": casia_v2,
    "columbia": columbia,
    "coverage": coverage,
    "imd2020": imd2020,
    "nist16": nist16,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("casia", "casiav2"),
        ("CASIA v2.0", "casiav2"),
        ("casia-v1", "casiav1"),
        ("CASIAv1+", "casiav1plus"),
        ("COVER", "coverage"),
        ("NC2016_Test0613", "nist16"),
    ],
)
def test_benchmarks_answer_to_their_usual_names(name: str, expected: str) -> None:
    """Case, spaces, dots, hyphens and underscores make no difference."""
    loader = loader_named(name)
    assert loader is LOADERS[expected]


def test_unknown_names_have_no_loader() -> None:
    """A path is no name."""
    assert loader_named("photos/casia") is None
    assert loader_named("") is None


def test_no_name_belongs_to_two_benchmarks() -> None:
    """Every name and alias finds its own loader, under its own key."""
    for key, loader in LOADERS.items():
        facts = loader.facts
        assert key == facts.name
        assert all(loader_named(name) is loader for name in (facts.name, facts.title, *facts.aliases))


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_facts_are_complete(name: str) -> None:
    """A missing data set is explained from these: what it holds, where it is, under which terms."""
    facts = LOADERS[name].facts
    assert facts.tampered > 0
    assert all((facts.tree, facts.mask_rule, facts.publisher, facts.terms))


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_empty_and_missing_folders_are_refused(name: str, tmp_path: Path) -> None:
    """Every loader says where it looked, for a folder without anything and for none at all."""
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DatasetError, match=f"in {root}"):
            LOADERS[name].load(root)


@pytest.mark.parametrize(("name", "build"), MINIATURES.items(), ids=MINIATURES)
def test_loaded_sets_keep_the_contract(name: str, build: Callable[[Path], Path], tmp_path: Path) -> None:
    """Every path exists, tampered means a mask and a known rule, authentic means none; anomalies use known words."""
    loaded = LOADERS[name].load(build(tmp_path))
    assert (loaded.name, loaded.root, loaded.facts) == (name, tmp_path, LOADERS[name].facts)
    for pair in loaded.pairs:
        assert pair.image.is_file()
        assert pair.authentic == (pair.mask is None)
        assert pair.mask is None or (pair.mask.is_file() and pair.mask_rule in MASK_RULES)
        assert pair.kind in {"", "splice", "copy-move", "removal"}
    assert {each.kind for each in loaded.anomalies} <= set(ANOMALIES)
    assert len({pair.image for pair in loaded.pairs}) == len(loaded.pairs)
