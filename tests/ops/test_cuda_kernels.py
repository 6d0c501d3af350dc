"""The CUDA kernels and their host code, run on the CPU by the emulator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F

from nclforensics.losses.ranks import Ranks
from nclforensics.ops.class_lse import cuda_backend, torch_backend
from nclforensics.ops.class_lse.layout import lay_out
from nclforensics.ops.class_lse.modules import ROW_TILE, TILE_SHAPES
from nclforensics.ops.class_lse.shares import own_tiles_only
from nclforensics.ops.class_lse.tiles import tile_pairs
from tests.ops.emulator.cases import TAU, Case, check_lse, check_softplus, make_case, random_roles
from tests.ops.emulator.launcher import COMPILER, EmulatedLauncher, EmulationError

if TYPE_CHECKING:
    from nclforensics.ops.class_lse.launch import Launcher

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the emulator of the CUDA kernels needs g++")

HARD_ROLES = {
    "one patch": [0],
    "two patches": [1, 1],
    "all ignored": [-1] * 4,
    "one role": [2] * 6,
    "no contour": [0, 1, 1, 0, 0, 1],
    "single in its role": [0, 0, -1, 1, 2],
}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> EmulatedLauncher:
    """Return a launcher whose compiled kernels the whole session shares."""
    return EmulatedLauncher(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def launcher(libraries: EmulatedLauncher) -> EmulatedLauncher:
    """Return a launcher of its own for a test; memory that nobody has written holds NaN."""
    torch.use_deterministic_algorithms(True)
    return replace(libraries, launches=[])


def use_processors(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the host code see a GPU with `count` multiprocessors."""
    monkeypatch.setattr(cuda_backend, "_processors", lambda _: count)


def two_groups(count: int) -> torch.Tensor:
    """Return group names that are neither dense nor sorted."""
    return torch.tensor([7, -2, 7]).repeat(count)[:count]


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_both_operations_equal_float64_around_a_tile(count: int, launcher: EmulatedLauncher) -> None:
    """Values and gradients are those of the formula where runs of patches fill a tile, miss it or exceed it by one."""
    roles = torch.zeros(count, dtype=torch.int64)
    check_lse(make_case(roles), launcher)
    check_softplus(make_case(roles), launcher)


@pytest.mark.parametrize("dim", [1, 48, 64, 65, 128, 256])
def test_both_operations_equal_float64_for_every_width(dim: int, launcher: EmulatedLauncher) -> None:
    """Every tile shape is right, and widths between them are filled up with zeros."""
    case = make_case(random_roles(200), dim)
    check_lse(case, launcher)
    check_softplus(case, launcher)


@pytest.mark.parametrize("roles", HARD_ROLES.values(), ids=HARD_ROLES.keys())
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
def test_empty_roles_and_ignored_patches(roles: list[int], launcher: EmulatedLauncher, *, grouped: bool) -> None:
    """A role without a partner gives -inf and no gradient; an ignored patch may hold NaN and reaches nobody."""
    case = make_case(torch.tensor(roles), groups=two_groups(len(roles)) if grouped else None)
    check_lse(case, launcher)
    check_softplus(case, launcher)


@pytest.mark.parametrize("processors", [1, 10], ids=["whole", "split"])
def test_groups_do_not_meet(processors: int, launcher: EmulatedLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of other groups are no partners, whatever the groups are called, also where the keys are split."""
    use_processors(monkeypatch, processors)
    roles = random_roles(420)
    case = make_case(roles, groups=two_groups(420))
    check_lse(case, launcher)
    check_softplus(case, launcher)


@pytest.mark.parametrize("processors", [4, 30, 500])
def test_split_keys_equal_float64(processors: int, launcher: EmulatedLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is too large for the patches gets each row tile in parts, some of them empty; the sum is the same."""
    use_processors(monkeypatch, processors)
    case = make_case(random_roles(300))
    check_lse(case, launcher)
    check_softplus(case, launcher)
    assert max(launch.grid[1] for launch in launcher.launches) > 1


@pytest.mark.parametrize("processors", [1, 30], ids=["whole", "split"])
@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_several_processes_make_the_whole(
    count: int, processors: int, launcher: EmulatedLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row tile is computed by one process, and the parts add up to the very bits of one process alone."""
    use_processors(monkeypatch, processors)
    case = make_case(random_roles(300))
    z, roles, bias = case.embeddings, case.roles, case.bias
    upstream = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))

    def results(run: Launcher, lse: torch.Tensor) -> list[torch.Tensor]:
        return [
            cuda_backend.lse_backward(upstream, z, roles, None, lse, TAU, launcher=run),
            cuda_backend.softplus_forward(z, roles, None, bias, TAU, launcher=run),
            *cuda_backend.softplus_backward(upstream[:, 0], z, roles, None, bias, TAU, launcher=run),
        ]

    lse = cuda_backend.lse_forward(z, roles, None, TAU, launcher=launcher)
    shares = [own_tiles_only(launcher, Ranks(rank, count)) for rank in range(count)]
    rows = torch.stack([cuda_backend.lse_forward(z, roles, None, TAU, launcher=run) for run in shares])
    assert torch.equal(rows.isfinite().sum(0), lse.isfinite().long())
    assert torch.equal(rows.amax(0), lse)
    parts = zip(*(results(run, lse) for run in shares), strict=True)
    for whole, own in zip(results(launcher, lse), parts, strict=True):
        assert torch.equal(torch.stack(own).sum(0), whole)
        assert all(0 < int(part.ne(0).sum()) < int(whole.ne(0).sum()) for part in own)


def test_no_patch_is_no_work(launcher: EmulatedLauncher) -> None:
    """Empty tensors give empty tensors."""
    case = make_case(torch.zeros(0, dtype=torch.int64))
    lse = cuda_backend.lse_forward(case.embeddings, case.roles, None, TAU, launcher=launcher)
    assert lse.shape == (0, 3)
    inputs = case.embeddings, case.roles, None
    assert cuda_backend.lse_backward(case.lse_grad, *inputs, lse, TAU, launcher=launcher).shape == (0, 64)
    assert cuda_backend.softplus_forward(*inputs, case.bias, TAU, launcher=launcher).shape == (0,)
    dz, dbias = cuda_backend.softplus_backward(case.softplus_grad, *inputs, case.bias, TAU, launcher=launcher)
    assert (dz.shape, dbias.shape) == ((0, 64), (0,))
    assert not launcher.launches


def results(case: Case, launcher: EmulatedLauncher) -> list[torch.Tensor]:
    """Return what all four functions give."""
    inputs = case.embeddings, case.roles, case.groups
    lse = cuda_backend.lse_forward(*inputs, TAU, launcher=launcher)
    return [
        lse,
        cuda_backend.lse_backward(case.lse_grad, *inputs, lse, TAU, launcher=launcher),
        cuda_backend.softplus_forward(*inputs, case.bias, TAU, launcher=launcher),
        *cuda_backend.softplus_backward(case.softplus_grad, *inputs, case.bias, TAU, launcher=launcher),
    ]


def test_any_order_of_warps_gives_the_same_bits(launcher: EmulatedLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """No result depends on which warp runs when, or on when copies arrive."""
    use_processors(monkeypatch, 3)
    case = make_case(random_roles(260))
    first = results(case, launcher)
    for seed in range(1, 6):
        launcher.seed = seed
        for expected, actual in zip(first, results(case, launcher), strict=True):
            assert torch.equal(expected, actual)


@pytest.mark.parametrize("dim", [64, 128])
def test_error_is_no_larger_than_that_of_plain_bfloat16(dim: int, launcher: EmulatedLauncher) -> None:
    """Against float64 of the unrounded embeddings, the kernels are no worse than the formula in PyTorch's bfloat16."""
    roles = random_roles(250).clamp(min=0)
    case = make_case(roles, dim)
    exact = dense_lse(case.embeddings.double(), roles)
    plain = dense_lse(case.embeddings.bfloat16(), roles)
    actual = cuda_backend.lse_forward(case.embeddings, roles, None, TAU, launcher=launcher)
    error, plain_error = (actual.double() - exact[0]).abs(), (plain[0].double() - exact[0]).abs()
    excess = (error - plain_error).max()
    assert excess <= 5e-3, f"worst excess {excess:.1e}"
    assert error.mean() < plain_error.mean()
    upstream = torch.ones_like(actual)
    dz = cuda_backend.lse_backward(upstream, case.embeddings, roles, None, actual, TAU, launcher=launcher)
    assert (dz.double() - exact[1]).norm() < (plain[1].double() - exact[1]).norm()


def dense_lse(z: torch.Tensor, roles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class_lse from the whole matrix of pairs in the dtype of z, and the gradient of its sum."""
    z = z.clone().requires_grad_()
    pairs = (z @ z.T / TAU).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    columns = [pairs.masked_fill(roles != role, -torch.inf).logsumexp(1) for role in range(3)]
    lse = torch.stack(columns, dim=1)
    return lse.detach(), torch.autograd.grad(lse.sum(), z)[0]


@pytest.mark.parametrize(("norm", "tau"), [(2.5, 0.1), (1.0, 0.015), (0.1, 0.1)])
def test_any_norm_and_temperature_in_range(norm: float, tau: float, launcher: EmulatedLauncher) -> None:
    """Exponents up to 100 bits lose nothing: sums of 2^-100 and of 2^100 are right in the same call."""
    case = make_case(random_roles(150).clamp(min=0), norm=norm)
    opposite = torch.cat((case.embeddings[:75], -case.embeddings[:75]))
    case = replace(case, embeddings=opposite, bias=0.1 * case.bias)
    check_lse(case, launcher, tau=tau)
    check_softplus(case, launcher, tau=tau)


def test_exponents_out_of_range_give_nan(launcher: EmulatedLauncher) -> None:
    """Embeddings whose exponentials could leave float32 make everything NaN rather than something wrong."""
    case = make_case(torch.tensor([0, 0, 1, 1]), norm=2.7)
    assert cuda_backend.lse_forward(case.embeddings, case.roles, None, TAU, launcher=launcher).isnan().all()


@pytest.mark.parametrize("role", [3, -2])
def test_unknown_roles_give_nan(role: int, launcher: EmulatedLauncher) -> None:
    """A role that does not exist makes all others NaN: raising would have to wait for the GPU."""
    case = make_case(torch.tensor([0, 0, 1, 1]))
    case = replace(case, roles=torch.tensor([0, 0, 1, role]))
    for values in results(case, launcher):
        assert values[:3].isnan().all()


def test_nan_in_a_patch_that_counts_comes_out(launcher: EmulatedLauncher) -> None:
    """A training run notices a NaN among its embeddings."""
    case = make_case(torch.tensor([0, 0, 1, 1]))
    case.embeddings[0, 5] = torch.nan
    lse, dz, sums, *_ = results(case, launcher)
    assert lse.isnan().all()
    assert dz.isnan().all()
    assert sums[:2].isnan().all()
    assert sums[2:].isfinite().all()


@pytest.mark.parametrize("bias", [-torch.inf, -200.0, 200.0])
def test_softplus_of_extreme_bias(bias: float, launcher: EmulatedLauncher) -> None:
    """A bias far beyond all similarities gives the limits of softplus and its slope; -inf gives 0, without NaN."""
    case = make_case(torch.zeros(20, dtype=torch.int64))
    case = replace(case, bias=torch.full((20,), bias))
    _, _, sums, dz, dbias = results(case, launcher)
    inputs = case.rounded, case.roles, None, case.bias.double(), TAU
    torch.testing.assert_close(sums.double(), torch_backend.softplus_forward(*inputs), atol=1e-6, rtol=1e-5)
    _, expected = torch_backend.softplus_backward(case.softplus_grad.double(), *inputs)
    torch.testing.assert_close(dbias.double(), expected, atol=1e-6, rtol=1e-5)
    assert dz.isfinite().all()


def test_nan_in_bias_comes_out(launcher: EmulatedLauncher) -> None:
    """The minimum and maximum in the kernels keep NaN."""
    case = make_case(torch.zeros(20, dtype=torch.int64))
    case.bias[3] = torch.nan
    _, _, sums, dz, dbias = results(case, launcher)
    assert sums.isnan().tolist() == [i == 3 for i in range(20)]
    assert dbias[3].isnan()
    assert dz.isnan().all()


@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
def test_layout_puts_every_patch_into_a_tile_of_its_role(*, grouped: bool) -> None:
    """Places are distinct rows, a tile holds one role of one group, and the order is that of the torch backend."""
    roles = random_roles(400)
    groups = two_groups(400) if grouped else None
    layout = lay_out(roles, groups)
    kept = roles >= 0
    assert bool(layout.roles_known)
    assert (layout.places[~kept] == -1).all()
    assert torch.equal(torch.argsort(layout.places, stable=True)[int((~kept).sum()) :], tile_pairs(roles, groups).order)
    places, segments = layout.places[kept].long(), layout.tile_segments.long()
    owners = segments[places // ROW_TILE]
    assert len(set(places.tolist())) == len(places)
    assert (places >= layout.begins[owners]).all()
    assert (places < layout.ends[owners]).all()
    assert torch.equal(owners % 3, roles[kept])
    assert layout.rows >= int(layout.begins[-1])
    assert int((segments == layout.segments).sum()) == layout.tiles - int(layout.begins[-1]) // ROW_TILE


@pytest.mark.parametrize(("tiles", "parts"), [(1, 16), (66, 4), (131, 2), (264, 1), (300, 3), (515, 1), (1027, 1)])
def test_keys_are_split_where_blocks_are_few(tiles: int, parts: int) -> None:
    """On 132 processors, parts fill the waves of blocks, and large inputs are left whole."""
    assert cuda_backend.parts_of_keys(tiles, 132) == parts


def test_safe_temperatures() -> None:
    """The bound keeps exp(1 / tau) of rounded unit vectors within 2^100."""
    assert cuda_backend.shift_is_safe(0.07)
    assert cuda_backend.shift_is_safe(0.0146)
    assert not cuda_backend.shift_is_safe(0.0145)


def test_tiles_fit_every_gpu() -> None:
    """No kernel asks for more than the 48 KiB of shared memory that need no permission."""
    assert all(shape.shared_bytes(2) <= 48 * 1024 for shape in TILE_SHAPES)


def test_unit_norm_after_rounding_is_bounded() -> None:
    """The squared norm of a unit vector in bfloat16 is at most what the safe temperature assumes."""
    z = F.normalize(torch.randn(1000, 7), dim=1).bfloat16().float()
    assert z.square().sum(1).max() <= (1 + 2**-8) ** 2


def test_emulator_checks_the_types_of_arguments(launcher: EmulatedLauncher) -> None:
    """A launch whose arguments do not suit the kernel's parameters is refused."""
    case = make_case(torch.tensor([0, 0]))
    check_lse(case, launcher)
    launch = launcher.launches[0]
    with pytest.raises(EmulationError, match="takes FIHFiii, not FIHFiif"):
        launcher(replace(launch, arguments=(*launch.arguments[:-1], 1.0)))
