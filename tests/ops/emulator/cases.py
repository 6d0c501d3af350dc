"""Cases for the kernels, and their comparison with float64 on the same bfloat16 embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse import cuda_backend, torch_backend

if TYPE_CHECKING:
    from torch import Tensor

    from nclforensics.ops.class_lse.launch import Launcher

TAU = 0.1
# Weights are rounded to bfloat16, by at most 2^-8 each and at random; the rest is float32.
GRADIENT_TOLERANCE = 3e-3
FLOAT32_TOLERANCE = 2e-5


@dataclass(frozen=True)
class Case:
    """Patches and upstream gradients; ignored patches hold NaN."""

    embeddings: Tensor
    roles: Tensor
    groups: Tensor | None
    bias: Tensor
    lse_grad: Tensor
    softplus_grad: Tensor

    @property
    def rounded(self) -> Tensor:
        """The embeddings that the kernels see, in float64."""
        return self.embeddings.bfloat16().double()


def make_case(roles: Tensor, dim: int = 64, *, groups: Tensor | None = None, norm: float = 1.0) -> Case:
    """Return a seeded case with these roles."""
    count = len(roles)
    generator = torch.Generator().manual_seed(count + dim)
    embeddings = norm * F.normalize(torch.randn(count, dim, generator=generator), dim=1)
    return Case(
        embeddings=embeddings.masked_fill(roles[:, None] < 0, torch.nan),
        roles=roles,
        groups=groups,
        bias=3 * torch.randn(count, generator=generator),
        lse_grad=torch.randn(count, 3, generator=generator),
        softplus_grad=torch.randn(count, generator=generator),
    )


def random_roles(count: int) -> Tensor:
    """Return seeded roles -1 to 2, most of them 0, so that one role needs several tiles."""
    roles = torch.randint(-1, 3, (count,), generator=torch.Generator().manual_seed(count))
    return roles.where(torch.arange(count) % 3 == 0, 0)


def check_lse(case: Case, launcher: Launcher, *, tau: float = TAU) -> None:
    """Compare class_lse with float64, in value and gradient."""
    fixed = case.roles, case.groups
    expected = torch_backend.lse_forward(case.rounded, *fixed, tau)
    actual = cuda_backend.lse_forward(case.embeddings, *fixed, tau, launcher=launcher)
    torch.testing.assert_close(actual.double(), expected, atol=FLOAT32_TOLERANCE, rtol=FLOAT32_TOLERANCE)
    gradient = torch_backend.lse_backward(case.lse_grad.double(), case.rounded, *fixed, expected, tau)
    actual = cuda_backend.lse_backward(case.lse_grad, case.embeddings, *fixed, actual, tau, launcher=launcher)
    assert_near(actual, gradient, GRADIENT_TOLERANCE)


def check_softplus(case: Case, launcher: Launcher, *, tau: float = TAU) -> None:
    """Compare pair_softplus with float64, in value and both gradients."""
    fixed = case.roles, case.groups
    expected = torch_backend.softplus_forward(case.rounded, *fixed, case.bias.double(), tau)
    actual = cuda_backend.softplus_forward(case.embeddings, *fixed, case.bias, tau, launcher=launcher)
    assert_near(actual, expected, FLOAT32_TOLERANCE)
    inputs = case.rounded, *fixed, case.bias.double(), tau
    dz, dbias = torch_backend.softplus_backward(case.softplus_grad.double(), *inputs)
    inputs = case.embeddings, *fixed, case.bias, tau
    actual, bias_actual = cuda_backend.softplus_backward(case.softplus_grad, *inputs, launcher=launcher)
    assert_near(actual, dz, GRADIENT_TOLERANCE)
    assert_near(bias_actual, dbias, FLOAT32_TOLERANCE)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Require a small error in norm, no row far off, and 0 where 0 is expected."""
    assert actual.isfinite().all()
    error = (actual.double() - expected).reshape(len(expected), -1).norm(dim=1)
    size = expected.reshape(len(expected), -1).norm(dim=1)
    assert error.norm() <= tolerance * size.norm() + 1e-12, f"relative error {error.norm() / size.norm():.1e}"
    # A row whose weights cancel is small, but its error is that of the weights.
    assert error.max() <= 4 * tolerance * size.max() + 1e-12, f"row {int(error.argmax())} is off by {error.max():.1e}"
    assert not actual[expected == 0].any()
