from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nclforensics.errors import ShapeError, UsageError
from nclforensics.ops.class_lse import (
    class_counts,
    class_lse,
    class_similarity_sums,
    pair_softplus,
    torch_backend,
)
from nclforensics.ops.class_lse.autograd import (
    class_lse_backward_op,
    class_lse_op,
    pair_softplus_backward_op,
    pair_softplus_op,
)
from tests.reference import class_lse as reference

if TYPE_CHECKING:
    from collections.abc import Callable

TAU = 0.2
# Roles of a few patches that have hurt contrastive losses before.
HARD_ROLES = {
    "mixed": [0, 1, 2, -1, 0, 2, 1, 0, 1, 0, 2, -1],
    "all authentic": [0] * 6,
    "all tampered": [1] * 6,
    "no contour": [0, 1, 1, 0, 0, 1],
    "one patch": [1],
    "all ignored": [-1] * 4,
    "single in its class": [0, 0, 0, 1, 2],
}
hard_roles = pytest.mark.parametrize("roles", HARD_ROLES.values(), ids=HARD_ROLES.keys())


def embed(count: int, dim: int = 5, *, dtype: torch.dtype = torch.float64, unit: bool = True) -> torch.Tensor:
    """Return seeded embeddings (count, dim) that ask for a gradient."""
    z = torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    return (F.normalize(z, dim=1) if unit else z).to(dtype).requires_grad_()


def groups_of(roles: list[int]) -> list[int]:
    """Return group names that are neither dense nor sorted."""
    return [7 if i % 3 else -2 for i in range(len(roles))]


def weights_like(values: torch.Tensor) -> torch.Tensor:
    """Return an upstream gradient without pattern."""
    return torch.randn(values.shape, dtype=values.dtype, generator=torch.Generator().manual_seed(1))


def random_roles(count: int) -> torch.Tensor:
    """Return seeded roles -1 to 2 for `count` patches."""
    return torch.randint(-1, 3, (count,), generator=torch.Generator().manual_seed(3))


def lopsided_roles(count: int) -> torch.Tensor:
    """Return seeded roles of which most are authentic, so that one role alone needs several tiles."""
    return random_roles(count).where(torch.arange(count) % 5 == 0, 0)


def assert_same_with_gradient(expected: torch.Tensor, actual: torch.Tensor, z: torch.Tensor) -> None:
    """Compare values, and gradients for one upstream gradient that ignores the -inf entries."""
    torch.testing.assert_close(actual, expected)
    weights = weights_like(expected)
    finite = expected.isfinite()
    gradients = []
    for values in (expected, actual):
        loss = (values.where(finite, 0) * weights).sum() + 0 * z.sum()
        gradients.append(torch.autograd.grad(loss, z, retain_graph=True)[0])
    torch.testing.assert_close(gradients[1], gradients[0])


@hard_roles
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_class_lse_equals_the_loop(roles: list[int], *, grouped: bool, tau: float) -> None:
    """Values and gradients are those of the formula, also with empty classes."""
    z, groups = embed(len(roles)), groups_of(roles) if grouped else [0] * len(roles)
    expected = reference.class_lse(z, roles, groups, tau)
    actual = class_lse(z, torch.tensor(roles), tau=tau, groups=torch.tensor(groups) if grouped else None)
    assert_same_with_gradient(expected, actual, z)


@hard_roles
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
def test_similarity_sums_equal_the_loop(roles: list[int], *, grouped: bool) -> None:
    """Values and gradients are those of the formula."""
    z, groups = embed(len(roles)), groups_of(roles) if grouped else [0] * len(roles)
    expected = reference.class_similarity_sums(z, roles, groups, TAU)
    actual = class_similarity_sums(z, torch.tensor(roles), tau=TAU, groups=torch.tensor(groups) if grouped else None)
    assert_same_with_gradient(expected, actual, z)


@hard_roles
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
def test_pair_softplus_equals_the_loop(roles: list[int], *, grouped: bool) -> None:
    """Values and gradients, of the embeddings and of the bias, are those of the formula."""
    z, groups = embed(len(roles)), groups_of(roles) if grouped else [0] * len(roles)
    bias = weights_like(z.detach()[:, 0]).requires_grad_()
    expected = reference.pair_softplus(z, roles, groups, bias, TAU)
    actual = pair_softplus(z, torch.tensor(roles), bias, tau=TAU, groups=torch.tensor(groups) if grouped else None)
    assert_same_with_gradient(expected, actual, z)
    assert_same_with_gradient(expected + 0 * bias, actual + 0 * bias, bias)


@hard_roles
def test_counts_equal_the_loop(roles: list[int]) -> None:
    """The counts leave out the patch itself, ignored patches and other groups."""
    groups = groups_of(roles)
    expected = [[len(reference.partners(roles, groups, i, role)) for role in range(3)] for i in range(len(roles))]
    assert expected == class_counts(torch.tensor(roles), torch.tensor(groups)).tolist()


@pytest.mark.parametrize("count", [511, 512, 513, 1300])
def test_class_lse_over_several_tiles_equals_dense_form(count: int) -> None:
    """Tiles that end in the middle of a class or cross the diagonal lose no pair, in value and gradient."""
    z, roles = embed(count), lopsided_roles(count)
    pairs = (z @ z.T / TAU).masked_fill(torch.eye(count, dtype=torch.bool), -torch.inf)
    dense = [pairs.masked_fill(roles != role, -torch.inf).logsumexp(1) for role in range(3)]
    expected = torch.stack(dense, dim=1).masked_fill(roles[:, None] < 0, -torch.inf)
    assert_same_with_gradient(expected, class_lse(z, roles, tau=TAU), z)


def test_pair_softplus_over_several_tiles_equals_dense_form() -> None:
    """As above for the second operation."""
    z, roles = embed(1300), lopsided_roles(1300)
    bias = weights_like(z.detach()[:, 0]).requires_grad_()
    positives = (roles[:, None] == roles) & ~torch.eye(1300, dtype=torch.bool) & (roles >= 0)
    expected = torch.where(positives, torch.log1p(torch.exp(bias[:, None] - z @ z.T / TAU)), 0).sum(1)
    actual = pair_softplus(z, roles, bias, tau=TAU)
    assert_same_with_gradient(expected, actual, z)
    assert_same_with_gradient(expected, actual, bias)


def test_groups_equal_separate_calls() -> None:
    """Grouping by image gives what one call per image gives, in any order of the patches."""
    z, roles, groups = embed(90), random_roles(90), torch.arange(90) % 4
    together = class_lse(z, roles, tau=TAU, groups=groups)
    for group in range(4):
        mine = groups == group
        torch.testing.assert_close(together[mine], class_lse(z[mine], roles[mine], tau=TAU))


def test_order_of_patches_does_not_matter() -> None:
    """Permuting the patches permutes the rows."""
    z, roles = embed(40), random_roles(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(class_lse(z[order], roles[order], tau=TAU), class_lse(z, roles, tau=TAU)[order])


@pytest.mark.parametrize("tau", [0.02, 0.05, 1.0])
def test_float32_is_close_to_float64_without_unit_norm(tau: float) -> None:
    """Long embeddings, whose exp(s) overflows float32, still give exact values and gradients."""
    exact, roles = embed(200, unit=False), random_roles(200)
    single = exact.detach().float().requires_grad_()
    expected, actual = (class_lse(z, roles, tau=tau) for z in (exact, single))
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected.float(), rtol=1e-5, atol=1e-4)
    weights = weights_like(expected)
    (gradient,), (wanted,) = (
        torch.autograd.grad(values, z, weights.to(z.dtype)) for values, z in ((actual, single), (expected, exact))
    )
    assert float((gradient - wanted).norm() / wanted.norm()) < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_embeddings_are_computed_in_float32(dtype: torch.dtype) -> None:
    """The result is that of the rounded embeddings in float32, and the gradient has the embeddings' dtype."""
    z, roles = embed(80, dtype=dtype), random_roles(80)
    actual = class_lse(z, roles, tau=TAU)
    assert torch.equal(actual, class_lse(z.detach().float(), roles, tau=TAU))
    torch.autograd.backward(actual.where(actual.isfinite(), 0).sum())
    assert z.grad is not None
    assert z.grad.dtype == dtype


def test_bfloat16_is_close_to_float64() -> None:
    """Rounding the embeddings to bfloat16 costs what the rounding itself costs: some thousandths of 1 / tau."""
    z, roles = embed(80), random_roles(80)
    exact, rounded = class_lse(z, roles, tau=TAU), class_lse(z.bfloat16(), roles, tau=TAU)
    torch.testing.assert_close(rounded, exact.float(), rtol=0, atol=4e-3 / TAU)


def test_autocast_does_not_reach_the_products() -> None:
    """Under autocast values and gradients are bit for bit those without it."""
    z, roles = embed(80, dtype=torch.float32), random_roles(80)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            values = class_lse(z, roles, tau=TAU)
            sums = class_similarity_sums(z, roles, tau=TAU)
            soft = pair_softplus(z, roles, sums[:, 0], tau=TAU)
            loss = values.where(values.isfinite(), 0).sum() + sums.sum() + soft.sum()
            results.append((values, sums, soft, torch.autograd.grad(loss, z)[0]))
    for plain, autocast in zip(*results, strict=True):
        assert torch.equal(plain, autocast)


def test_empty_class_has_zero_gradient_even_from_nan() -> None:
    """A -inf entry passes nothing on, even if a careless loss sends NaN to it."""
    z, roles = embed(5), torch.tensor([0, 0, 0, 1, -1])
    lse = class_lse(z, roles, tau=TAU)
    weights = torch.where(lse.isfinite(), 1.0, torch.nan)
    (gradient,) = torch.autograd.grad(lse, z, weights)
    assert gradient.isfinite().all()
    assert torch.equal(gradient[4], torch.zeros(5, dtype=torch.float64))


def test_ignored_patch_may_hold_nan() -> None:
    """What an ignored patch holds reaches neither values nor gradients."""
    roles = random_roles(30)
    z = embed(30).detach().masked_fill(roles[:, None] < 0, torch.nan).requires_grad_()
    lse, sums = class_lse(z, roles, tau=TAU), class_similarity_sums(z, roles, tau=TAU)
    soft = pair_softplus(z, roles, z.new_zeros(30), tau=TAU)
    torch.autograd.backward(lse.where(lse.isfinite(), 0).sum() + sums.sum() + soft.sum())
    assert not lse.isnan().any()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_nan_embedding_is_not_hidden() -> None:
    """A NaN in a patch that counts reaches the result, so that training can stop."""
    z = embed(6).detach()
    z[2] = torch.nan
    assert class_lse(z, torch.zeros(6, dtype=torch.int64), tau=TAU)[:, 0].isnan().all()


def test_no_patches_give_an_empty_result() -> None:
    """A batch without mined patches is no error."""
    lse = class_lse(embed(0), torch.zeros(0, dtype=torch.int64), tau=TAU, groups=torch.zeros(0, dtype=torch.int64))
    assert lse.shape == (0, 3)
    torch.autograd.backward(lse.sum())


def test_gradcheck() -> None:
    """The hand-written gradients agree with finite differences."""
    roles, groups = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, -1]), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])
    z, bias = embed(9), weights_like(embed(9).detach()[:, 0]).requires_grad_()

    def finite_lse(z: torch.Tensor) -> torch.Tensor:
        lse = class_lse(z, roles, tau=TAU, groups=groups)
        return lse.where(lse.isfinite(), 0)

    def soft(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return pair_softplus(z, roles, bias, tau=TAU, groups=groups)

    assert torch.autograd.gradcheck(finite_lse, (z,))
    assert torch.autograd.gradcheck(soft, (z, bias))


@pytest.mark.parametrize("grouped", [False, True])
def test_operations_pass_opcheck(*, grouped: bool) -> None:
    """Schema, fake tensors and autograd registration are what PyTorch demands of an operation."""
    z, roles = embed(9), random_roles(9)
    groups = torch.arange(9) % 2 if grouped else None
    lse = class_lse_op(z, roles, groups, TAU, "torch").detach()
    torch.library.opcheck(class_lse_op, (z, roles, groups, TAU, "torch"))
    gradient, bias = torch.ones(9, 3).double(), z.detach()[:, 0].clone()
    torch.library.opcheck(class_lse_backward_op, (gradient, z.detach(), roles, groups, lse, TAU, "torch"))
    torch.library.opcheck(pair_softplus_op, (z, roles, groups, bias.clone().requires_grad_(), TAU, "torch"))
    torch.library.opcheck(pair_softplus_backward_op, (gradient[:, 0], z.detach(), roles, groups, bias, TAU, "torch"))


def statistics_of(z: torch.Tensor, roles: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Use every operation once."""
    lse = class_lse(z, roles, tau=TAU, groups=groups)
    sums = class_similarity_sums(z, roles, tau=TAU, groups=groups) * class_counts(roles, groups)
    return lse.where(lse.isfinite(), 0) + sums + pair_softplus(z, roles, z[:, 0], tau=TAU, groups=groups)[:, None]


def test_operations_compile_as_one_graph() -> None:
    """torch.compile(fullgraph=True) finds no break, and values and gradients stay the same."""
    z, roles, groups = embed(30), random_roles(30), torch.arange(30) % 3
    compiled: Callable[..., torch.Tensor] = torch.compile(statistics_of, backend="aot_eager", fullgraph=True)
    assert_same_with_gradient(statistics_of(z, roles, groups), compiled(z, roles, groups), z)


class LargestTensor(TorchDispatchMode):
    """Records the largest number of elements that any operation creates."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch ships this class without types
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's protocol
        """Run the operation and look at its outputs."""
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return out


@pytest.mark.parametrize("num_patches", [100, 4096])
@pytest.mark.parametrize("operation", ["lse", "softplus"])
def test_memory_does_not_grow_with_the_square(operation: str, num_patches: int) -> None:
    """The largest tensor of forward and backward is one tile, or one (N, D): 512 * 512 where pairs are 4096 * 4096."""
    z, roles = embed(num_patches, 16).detach().float(), torch.zeros(num_patches, dtype=torch.int64)
    bias = z[:, 0].contiguous()
    # The functions behind the registered operations, since a dispatch mode does not see inside those.
    with LargestTensor() as largest:
        if operation == "lse":
            lse = torch_backend.lse_forward(z, roles, None, TAU)
            torch_backend.lse_backward(torch.ones_like(lse), z, roles, None, lse, TAU)
        else:
            sums = torch_backend.softplus_forward(z, roles, None, bias, TAU)
            torch_backend.softplus_backward(torch.ones_like(sums), z, roles, None, bias, TAU)
    assert min(num_patches, 512) ** 2 == largest.elements


def test_similarity_sums_never_make_pairs() -> None:
    """The linear statistics create nothing larger than (N, D)."""
    z, roles = embed(1000, 16).detach(), random_roles(1000)
    with LargestTensor() as largest:
        class_similarity_sums(z, roles, tau=TAU, groups=torch.arange(1000) % 9)
    assert largest.elements == 1000 * 16


@pytest.mark.parametrize("tau", [0.0, -0.1, float("nan"), float("inf")])
def test_temperature_must_be_positive(tau: float) -> None:
    """Zero, negative and non-finite temperatures are refused."""
    with pytest.raises(UsageError, match="temperature tau > 0"):
        class_lse(embed(3), torch.tensor([0, 1, 2]), tau=tau)


def test_wrong_shapes_and_dtypes_are_refused() -> None:
    """Each message names the argument."""
    z, roles = embed(3), torch.tensor([0, 1, 2])
    with pytest.raises(ShapeError, match=r"embeddings \(N, D\)"):
        class_lse(z[0], roles, tau=TAU)
    with pytest.raises(ShapeError, match=r"roles \(N,\)"):
        class_lse(z, roles[:2], tau=TAU)
    with pytest.raises(ShapeError, match=r"groups \(N,\)"):
        class_lse(z, roles, tau=TAU, groups=roles[:2])
    with pytest.raises(ShapeError, match=r"bias \(N,\)"):
        pair_softplus(z, roles, torch.zeros(2), tau=TAU)
    with pytest.raises(UsageError, match="roles of dtype int64"):
        class_lse(z, roles.int(), tau=TAU)
    with pytest.raises(UsageError, match="floating dtype"):
        class_lse(z.detach().long(), roles, tau=TAU)


@pytest.mark.parametrize("role", [3, -2])
def test_unknown_roles_are_refused(role: int) -> None:
    """A role outside -1 to 2 is an error, not a silent fourth class."""
    with pytest.raises(UsageError, match="Expected roles of -1"):
        class_lse(embed(3), torch.tensor([0, role, 1]), tau=TAU)
