"""The kernels on a real GPU; skipped, with the reason, where there is none.

Three results are compared: exact, the formula in float64; plain, the same formula in bfloat16; and the kernel's. The
kernel may be as far from exact as plain is, and a small tolerance more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F

from nclforensics.config import ForgeConfig, LossConfig, ModelConfig, RunConfig, TrainConfig
from nclforensics.networks.build import build_network
from nclforensics.ops.class_lse import class_lse, driver, pair_softplus
from nclforensics.ops.class_lse.driver import GpuLauncher
from nclforensics.pipelines.training_data import TrainingSample
from nclforensics.pipelines.training_step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.ops.class_lse.launch import Launch

pytestmark = pytest.mark.gpu

TAU = 0.1
DEVICE = torch.device("cuda", 0)
SANITIZER = shutil.which("compute-sanitizer")
# Rows in tiles of 128, keys in tiles of 32 or 64: one patch, one short of a tile, one more, many tiles.
COUNTS = (1, 2, 7, 127, 128, 129, 300, 1000, 2049)
WIDTHS = (64, 128, 256, 5, 100, 250)
ROLE_SETS = {
    "all roles": (-1, 0, 1, 2),
    "no contour": (0, 1),
    "one role": (1,),
    "none but ignored": (-1,),
    "mostly authentic": (0, 0, 0, 0, 0, 0, 0, 1, 2),
}


@dataclass(frozen=True)
class Problem:
    """One input of both operations, and the upstream gradient of their results."""

    z: torch.Tensor
    roles: torch.Tensor
    groups: torch.Tensor | None
    bias: torch.Tensor
    lse_weights: torch.Tensor
    soft_weights: torch.Tensor


@dataclass(frozen=True)
class Outcome:
    """Values and gradients of both operations, in float64; a role without a partner counts as 0."""

    lse: torch.Tensor
    soft: torch.Tensor
    lse_dz: torch.Tensor
    soft_dz: torch.Tensor
    soft_dbias: torch.Tensor


def problem_of(
    count: int, width: int, *, roles: str = "all roles", num_groups: int = 0, device: torch.device = DEVICE
) -> Problem:
    """Return seeded unit embeddings of clusters, so that similarities reach from -1 to nearly 1."""
    generator = torch.Generator().manual_seed(1000 * count + width)
    choices = torch.tensor(ROLE_SETS[roles])
    picked = choices[torch.randint(len(choices), (count,), generator=generator)]
    centres = torch.randn(4, width, generator=generator)
    z = centres[torch.randint(4, (count,), generator=generator)] + 0.7 * torch.randn(count, width, generator=generator)
    values = torch.randn(count, 5, generator=generator)
    groups = torch.randint(num_groups, (count,), generator=generator) * 7 - 3 if num_groups else None
    return Problem(
        z=F.normalize(z, dim=1).to(device),
        roles=picked.to(device),
        groups=None if groups is None else groups.to(device),
        bias=values[:, 0].to(device),
        lse_weights=values[:, 1:4].to(device),
        soft_weights=values[:, 4].to(device),
    )


def kernel_outcome(problem: Problem) -> Outcome:
    """Return what the kernels compute."""

    def lse(z: torch.Tensor) -> torch.Tensor:
        return class_lse(z, problem.roles, tau=TAU, groups=problem.groups, backend="cuda")

    def soft(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return pair_softplus(z, problem.roles, bias, tau=TAU, groups=problem.groups, backend="cuda")

    return outcome_of(problem, problem.z, lse, soft)


def dense_outcome(problem: Problem, dtype: torch.dtype, z: torch.Tensor | None = None) -> Outcome:
    """Return what the formulas give when the pairs are computed and kept in `dtype`."""
    same_group = True if problem.groups is None else problem.groups[:, None] == problem.groups
    apart = ~torch.eye(len(problem.roles), dtype=torch.bool, device=problem.roles.device) & same_group
    apart &= (problem.roles >= 0)[:, None] & (problem.roles >= 0)

    def lse(z: torch.Tensor) -> torch.Tensor:
        pairs = (z.to(dtype) @ z.to(dtype).T / TAU).to(z.dtype)
        columns = []
        for role in range(3):
            partners = apart & (problem.roles == role)
            absent = ~partners.any(1)
            # A row without a partner must not reach logsumexp: its gradient there is NaN.
            sums = pairs.masked_fill(~(partners | absent[:, None]), -torch.inf).logsumexp(1)
            columns.append(sums.masked_fill(absent, -torch.inf))
        return torch.stack(columns, dim=1)

    def soft(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        pairs = (z.to(dtype) @ z.to(dtype).T / TAU).to(z.dtype)
        positives = apart & (problem.roles[:, None] == problem.roles)
        return F.softplus(bias[:, None] - pairs, threshold=100).masked_fill(~positives, 0).sum(1)

    return outcome_of(problem, (problem.z if z is None else z).double(), lse, soft)


def outcome_of(
    problem: Problem,
    z: torch.Tensor,
    lse: Callable[[torch.Tensor], torch.Tensor],
    soft: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Outcome:
    """Run both operations forward and backward."""
    z, bias = z.detach().requires_grad_(), problem.bias.to(z.dtype).requires_grad_()
    values, sums = lse(z), soft(z, bias)
    finite = values.where(values.isfinite(), 0)
    assert bool((values.isfinite() | values.isneginf()).all())
    (lse_dz,) = torch.autograd.grad((finite * problem.lse_weights).sum() + 0 * z.sum(), z)
    soft_dz, soft_dbias = torch.autograd.grad((sums * problem.soft_weights).sum(), (z, bias))
    return Outcome(*(t.detach().double() for t in (finite, sums, lse_dz, soft_dz, soft_dbias)))


def assert_no_worse_than_plain(problem: Problem) -> None:
    """Compare the largest errors of kernel and plain bfloat16, value by value and gradient by gradient."""
    exact, plain, kernel = (
        dense_outcome(problem, torch.float64),
        dense_outcome(problem, torch.bfloat16),
        kernel_outcome(problem),
    )
    for name in vars(exact):
        want, rough, got = (getattr(outcome, name) for outcome in (exact, plain, kernel))
        scale = max(1.0, float(want.abs().amax()))
        error, allowed = (float((value - want).abs().amax()) for value in (got, rough))
        # A sum of few terms may be unlucky where plain is lucky: one rounding to bfloat16 is up to 2^-9 of a term.
        assert error <= allowed + 2**-9 * scale, f"{name}: {error:.2e}, plain bfloat16 {allowed:.2e}, scale {scale:.2e}"


def assert_bitwise_equal(first: Outcome, second: Outcome) -> None:
    """Compare every bit."""
    for name in vars(first):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", COUNTS)
def test_kernels_are_no_worse_than_plain_bfloat16(count: int, width: int) -> None:
    """Value and gradient, for counts and widths that fill tiles and that do not."""
    assert_no_worse_than_plain(problem_of(count, width))


@pytest.mark.parametrize("num_groups", [0, 1, 5, 60])
@pytest.mark.parametrize("roles", ROLE_SETS)
def test_groups_and_empty_roles(roles: str, num_groups: int) -> None:
    """Roles without a partner, and groups of which some have a single patch of a role."""
    assert_no_worse_than_plain(problem_of(700, 128, roles=roles, num_groups=num_groups))


@pytest.mark.parametrize("width", [64, 128, 256])
def test_only_the_rounding_of_operands_separates_kernel_and_formula(width: int) -> None:
    """Given embeddings that bfloat16 holds exactly, the values are those of float64, to float32's own accuracy."""
    problem = problem_of(1000, width, num_groups=3)
    rounded = problem.z.bfloat16().float()
    problem = Problem(rounded, *list(vars(problem).values())[1:])
    exact, kernel = dense_outcome(problem, torch.float64), kernel_outcome(problem)
    torch.testing.assert_close(kernel.lse, exact.lse, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(kernel.soft, exact.soft, rtol=1e-5, atol=1e-4)
    for name in ("lse_dz", "soft_dz"):
        want, got = getattr(exact, name), getattr(kernel, name)
        assert float((got - want).norm() / want.norm()) < 4e-3, name


@pytest.mark.parametrize("num_groups", [0, 5])
def test_results_repeat_bit_for_bit(num_groups: int) -> None:
    """No atomic additions: the same input gives the same bits, each time."""
    problem = problem_of(3000, 128, num_groups=num_groups)
    first = kernel_outcome(problem)
    for _ in range(5):
        assert_bitwise_equal(first, kernel_outcome(problem))


def test_ignored_and_nan_patches() -> None:
    """An ignored patch may hold NaN; in a patch that counts it comes out."""
    problem = problem_of(300, 64)
    poisoned = problem.z.masked_fill(problem.roles[:, None] < 0, torch.nan)
    clean = class_lse(problem.z, problem.roles, tau=TAU, backend="cuda")
    assert torch.equal(clean, class_lse(poisoned, problem.roles, tau=TAU, backend="cuda"))
    poisoned[int((problem.roles == 1).nonzero()[0])] = torch.nan
    kept = problem.roles >= 0
    assert bool(class_lse(poisoned, problem.roles, tau=TAU, backend="cuda")[kept][:, 1].isnan().all())


def test_current_stream_is_honoured() -> None:
    """On a side stream the kernels wait for what that stream does first, here a late copy."""
    problem = problem_of(1000, 128)
    expected = class_lse(problem.z, problem.roles, tau=TAU, backend="cuda")
    late, side = torch.zeros_like(problem.z), torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch ships it so
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)  # type: ignore[no-untyped-call]  # torch ships it so
        late.copy_(problem.z)
        actual = class_lse(late, problem.roles, tau=TAU, backend="cuda")
    side.synchronize()
    assert torch.equal(expected, actual)


def test_second_device() -> None:
    """The tensors' device computes, not the current one, and gives the same bits as an equal device."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs, this machine has one")
    other = torch.device("cuda", 1)
    with torch.cuda.device(0):
        outcome = kernel_outcome(problem_of(700, 128, device=other))
    assert {getattr(outcome, name).device for name in vars(outcome)} == {other}
    exact = dense_outcome(problem_of(700, 128, device=other), torch.float64)
    torch.testing.assert_close(outcome.lse, exact.lse, rtol=0, atol=0.05)


def peak_bytes(count: int) -> int:
    """Return the most memory that forward and backward hold beside their input."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    z = F.normalize(torch.randn(count, 128, device=DEVICE, generator=generator), dim=1).requires_grad_()
    roles = torch.arange(count, device=DEVICE) % 3
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.autograd.backward(class_lse(z, roles, tau=TAU, backend="cuda").sum())
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def test_memory_grows_with_the_number_of_patches() -> None:
    """At 131,072 patches less than 0.3 GiB, where the pairs would be 64 GiB; twice the patches, twice the bytes."""
    half, full = peak_bytes(65_536), peak_bytes(131_072)
    assert full < 0.3 * 2**30
    assert full < 2.3 * half


def test_operations_pass_opcheck_on_the_gpu() -> None:
    """The CUDA forms keep to the schema: nothing is changed in place, no output is an input."""
    problem = problem_of(60, 64, num_groups=2)
    z, bias = problem.z.requires_grad_(), problem.bias.requires_grad_()
    operations = torch.ops.nclforensics
    torch.library.opcheck(operations.class_lse.default, (z, problem.roles, problem.groups, TAU, "cuda"))
    torch.library.opcheck(operations.pair_softplus.default, (z, problem.roles, problem.groups, bias, TAU, "cuda"))


def test_compiled_graph_gives_the_same_bits() -> None:
    """torch.compile(fullgraph=True) takes the kernels under autocast, as eager does."""
    problem = problem_of(500, 128)
    compiled: Callable[..., torch.Tensor] = torch.compile(class_lse, backend="aot_eager", fullgraph=True)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        expected = class_lse(problem.z, problem.roles, tau=TAU)
        assert torch.equal(expected, compiled(problem.z, problem.roles, tau=TAU))
    assert torch.equal(expected, class_lse(problem.z, problem.roles, tau=TAU, backend="cuda"))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("bf16", {"class_lse_forward", "class_lse_backward"}), ("fp32", set())],
)
def test_training_step_uses_the_kernels(monkeypatch: pytest.MonkeyPatch, precision: str, expected: set[str]) -> None:
    """With --precision bf16; float32 training stays in float32."""
    launched = set()
    launcher = GpuLauncher()

    def note(launch: Launch) -> None:
        launched.add(launch.kernel)
        launcher(launch)

    monkeypatch.setattr(driver, "launch_on_gpu", note)
    model = ModelConfig(branch_channels=8, embedding_dim=64, decoder_channels=8)
    config = RunConfig(
        model=model,
        losses=LossConfig(form="infonce"),
        train=TrainConfig(precision=precision),  # type: ignore[arg-type]  # one of its two
        forge=ForgeConfig(size=64),
    )
    network = build_network(model).to(DEVICE)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[:, 20:45, 20:45] = True
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = TrainingSample(image=pixels, mask=mask, valid=torch.ones_like(mask))
    terms = TrainingStep(config, stride=network.stride, device=DEVICE)(network, batch, 0)
    torch.autograd.backward(terms.total)
    assert expected == {name for name in launched if name.startswith("class_lse")}
    assert bool(terms.total.isfinite())


@pytest.mark.skipif(SANITIZER is None, reason="compute-sanitizer, a program of the CUDA toolkit, is not installed")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_sanitizer_finds_nothing(tool: str) -> None:
    """Forward and backward of both operations, at the widths of all modules."""
    assert SANITIZER is not None
    program = Path(__file__).with_name("sanitized_run.py")
    root = Path(__file__).parents[2]
    # Errors of API calls are ours to check. The tool would report some that are none: cuda-bindings asks for functions
    # that an older driver lacks, PyTorch for a context that is not there yet.
    # PyTorch's caching allocator would hide accesses beyond a tensor inside its larger blocks.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    result = subprocess.run(  # noqa: S603 - a program of the toolkit and our own script
        [SANITIZER, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no", "--kernel-regex",
         "kns=class_lse", "--kernel-regex", "kns=pair_softplus", "--kernel-regex", "kns=pack", sys.executable,
         str(program)],
        check=False, capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert "sanitized run complete" in result.stdout
