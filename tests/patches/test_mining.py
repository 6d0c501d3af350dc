"""Mining takes the contour first, prefers its surroundings, and keeps every cap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nclforensics.config import PatchConfig
from nclforensics.errors import ShapeError
from nclforensics.patches.mining import contour_band, mine_patches
from nclforensics.patches.roles import AUTHENTIC, CONTOUR, IGNORED, TAMPERED
from tests.reference import mining as reference

if TYPE_CHECKING:
    from nclforensics.patches.mining import MinedPatches

A, T, C, X = AUTHENTIC, TAMPERED, CONTOUR, IGNORED
SMALL = PatchConfig(contour_cap=3, tampered_cap=4, authentic_cap=5, band=1, near_share=0.5)
GRIDS = {
    "box": [[[A, A, A, A, A], [A, C, C, C, A], [A, C, T, C, A], [A, C, C, C, A], [A, A, A, A, A]]],
    "all authentic": [[[A] * 4] * 3],
    "all tampered": [[[T] * 4] * 3],
    "all contour": [[[C] * 4] * 3],
    "all ignored": [[[X] * 4] * 3],
    "no contour": [[[A, A, T, T, T, T]] * 4],
    "one patch": [[[C]]],
    "two patches": [[[T, A]]],
    "ignored edge": [[[A, A, T, X], [A, C, T, X], [X, X, X, X]]],
    "mixed batch": [[[A, C, T, T]], [[A, A, A, A]], [[T, X, X, T]], [[C, C, C, C]]],
}
every_grid = pytest.mark.parametrize("roles", GRIDS.values(), ids=GRIDS.keys())
every_scope = pytest.mark.parametrize("scope", ["image", "batch"])
grids = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(st.lists(st.sampled_from([A, T, C, X]), min_size=shape[2], max_size=shape[2]), min_size=shape[1],
                 max_size=shape[1]), min_size=shape[0], max_size=shape[0]))  # fmt: skip
configs = st.builds(
    PatchConfig,
    scope=st.sampled_from(["image", "batch"]),
    contour_cap=st.integers(0, 6),
    tampered_cap=st.integers(0, 6),
    authentic_cap=st.integers(0, 6),
    band=st.integers(0, 3),
    near_share=st.floats(0, 1),
)


def _mine(roles: reference.Roles, config: PatchConfig, *, seed: int = 0) -> MinedPatches:
    return mine_patches(torch.tensor(roles), config, generator=torch.Generator().manual_seed(seed))


def _check(roles: reference.Roles, config: PatchConfig, mined: MinedPatches) -> None:
    """Assert what the reference demands, and that groups and order are as documented."""
    rows, columns = len(roles[0]), len(roles[0][0])
    cells = [(i // (rows * columns), i // columns % rows, i % columns) for i in mined.index.tolist()]
    reference.check(roles, config, zip(cells, mined.roles.tolist(), strict=True))
    assert [cell[0] for cell in cells] == mined.groups.tolist() == sorted(mined.groups.tolist())
    assert mined.index.dtype == mined.roles.dtype == mined.groups.dtype == torch.int64


@every_grid
@every_scope
@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_valid(roles: reference.Roles, scope: str, seed: int) -> None:
    """On the grids that hurt: caps, roles, band, groups and order are those that the slow check demands."""
    config = replace(SMALL, scope=scope)  # type: ignore[arg-type]
    _check(roles, config, _mine(roles, config, seed=seed))


@settings(max_examples=150)
@given(roles=grids, config=configs, seed=st.integers(0, 2**31))
def test_the_choice_is_valid_for_any_grid_and_caps(roles: reference.Roles, config: PatchConfig, seed: int) -> None:
    """So it is for random grids, caps, bands and shares."""
    _check(roles, config, _mine(roles, config, seed=seed))


@given(roles=grids, band=st.integers(0, 4))
def test_the_band_equals_the_loop(roles: reference.Roles, band: int) -> None:
    """The zone around contour patches, or around a border without them, is that of a loop over all pairs."""
    actual = {tuple(cell) for cell in contour_band(torch.tensor(roles), band).nonzero().tolist()}
    assert actual == reference.band_cells(roles, band)


@pytest.mark.parametrize("name", ["all authentic", "all tampered", "all contour", "all ignored", "one patch"])
def test_an_image_of_one_role_contributes_nothing(name: str) -> None:
    """Alone in its scope it offers no pair to compare."""
    mined = _mine(GRIDS[name], SMALL)
    assert mined.index.shape == mined.roles.shape == mined.groups.shape == (0,)


def test_in_a_batch_an_authentic_image_serves_the_others() -> None:
    """With scope "batch" its patches are negatives and positives of the forged one's."""
    roles = [GRIDS["mixed batch"][0], GRIDS["mixed batch"][1]]
    assert set(_mine(roles, replace(SMALL, scope="batch")).groups.tolist()) == {0, 1}
    assert set(_mine(roles, replace(SMALL, scope="image")).groups.tolist()) == {0}


def test_batch_caps_are_shared() -> None:
    """In a batch of two, one image may fill both images' share of a cap."""
    roles = [[[T] * 6], [[A] * 6]]
    config = replace(SMALL, scope="batch", tampered_cap=3, authentic_cap=1)
    counts = _mine(roles, config).roles.bincount(minlength=2).tolist()
    assert counts == [2, 6]


def test_all_contour_patches_come_first() -> None:
    """Below its cap, every contour patch enters the loss; no patch of the pivot is thrown away."""
    roles = torch.randint(0, 2, (2, 8, 8)) * 2
    mined = mine_patches(roles, PatchConfig(tampered_cap=0, authentic_cap=0), generator=torch.Generator())
    assert mined.index.tolist() == (roles == CONTOUR).flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize(("near_share", "expected"), [(1.0, 4), (0.5, 2)])
def test_the_band_fills_its_share_first(near_share: float, expected: int) -> None:
    """Beside a contour at the end of a row, at least that share of the cap is near, however many patches are far."""
    roles = [[[C, *[A] * 400]]]
    config = PatchConfig(authentic_cap=4, band=20, near_share=near_share)
    for seed in range(20):
        columns = _mine(roles, config, seed=seed).index[1:]
        assert (columns <= 20).sum() >= expected
        assert len(columns) == 4


def test_without_a_share_the_band_is_not_preferred() -> None:
    """With near_share 0 the draw is uniform: 20 of 400 are near, so 20 draws of 4 rarely find more than ten."""
    config = PatchConfig(authentic_cap=4, band=20, near_share=0.0)
    near = sum(int((_mine([[[C, *[A] * 400]]], config, seed=seed).index[1:] <= 20).sum()) for seed in range(20))
    assert near < 15


def test_every_far_patch_has_the_same_chance() -> None:
    """The rest of a cap is drawn evenly from the whole image."""
    config = PatchConfig(authentic_cap=1, band=0, near_share=0.0)
    counts = torch.zeros(5)
    for seed in range(400):
        counts[_mine([[[C, A, A, A, A]]], config, seed=seed).index[1]] += 1
    assert counts[0] == 0
    assert ((counts[1:] > 60) & (counts[1:] < 140)).all()


def test_the_band_does_not_leak_into_other_images() -> None:
    """The contour of one image prefers nothing in the next."""
    roles = torch.full((2, 3, 3), AUTHENTIC)
    roles[0] = CONTOUR
    assert contour_band(roles, 2).flatten(1).any(dim=1).tolist() == [True, False]


@every_scope
def test_a_seed_decides_the_choice(scope: str) -> None:
    """The same seed chooses the same patches, another seed others; the global state plays no part."""
    roles = torch.randint(0, 3, (2, 12, 12)).tolist()
    config = replace(SMALL, scope=scope)  # type: ignore[arg-type]
    first = _mine(roles, config, seed=1).index
    torch.manual_seed(99)
    assert torch.equal(first, _mine(roles, config, seed=1).index)
    assert not torch.equal(first, _mine(roles, config, seed=2).index)


def test_padding_is_never_chosen() -> None:
    """Ignored patches stay out even when caps are far from full."""
    roles = torch.randint(-1, 3, (3, 9, 9))
    mined = mine_patches(roles, PatchConfig(), generator=torch.Generator())
    assert (mined.roles != IGNORED).all()
    assert len(mined.index) == (roles != IGNORED).sum()


def test_roles_without_a_batch_are_refused() -> None:
    """The message names the expected and the found shape."""
    with pytest.raises(ShapeError, match=r"Expected roles \(B, h, w\), got \(4, 4\)"):
        mine_patches(torch.zeros(4, 4, dtype=torch.int64), SMALL, generator=torch.Generator())


@pytest.mark.gpu
def test_a_gpu_chooses_what_the_cpu_chooses() -> None:
    """With the generator on the CPU the device of the roles changes nothing."""
    roles = torch.randint(-1, 3, (2, 16, 16))
    here = mine_patches(roles, SMALL, generator=torch.Generator().manual_seed(3))
    there = mine_patches(roles.cuda(), SMALL, generator=torch.Generator().manual_seed(3))
    assert torch.equal(here.index, there.index.cpu())
