"""Which backend computes, and what is said when it is not the one that was hoped for.

Tensors "on the GPU" are torch's fake ones: they have a device and a dtype but no data, so that no GPU is needed.
"""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nclforensics.errors import DeviceUnavailableError, UsageError
from nclforensics.ops.class_lse import (
    BACKEND_VARIABLE,
    autograd,
    backend_choice,
    class_lse,
    cuda_backend,
    driver,
    torch_backend,
)
from nclforensics.ops.class_lse.backend_choice import WIDEST, device_obstacle, resolve_backend
from nclforensics.ops.class_lse.modules import KERNEL_MODULES

if TYPE_CHECKING:
    from collections.abc import Callable

TAU, UNSAFE_TAU = 0.1, 0.001
GPU = torch.device("cuda", 0)


def embeddings(
    device: torch.device | str = GPU, *, dtype: torch.dtype = torch.bfloat16, width: int = 128
) -> torch.Tensor:
    """Return embeddings without data."""
    with FakeTensorMode():
        return torch.empty(7, width, dtype=dtype, device=device)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget warnings and findings of other tests, and what the environment asks for."""
    backend_choice._warn.cache_clear()
    backend_choice._gpu_obstacle.cache_clear()
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)


@pytest.fixture
def good_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every GPU be one that runs the kernels."""
    monkeypatch.setattr(backend_choice, "device_obstacle", lambda _device: None)


@pytest.fixture
def gpu_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes torch tell of a GPU with this capability, and the launcher fail like this."""

    def pretend(capability: tuple[int, int], *, failure: str = "") -> None:
        def load(*_: object) -> None:
            if failure:
                raise DeviceUnavailableError(failure)

        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Test GPU")
        monkeypatch.setattr(backend_choice, "launch_on_gpu", SimpleNamespace(load=load))

    return pretend


@pytest.mark.usefixtures("good_gpu")
@pytest.mark.parametrize(
    ("dtype", "autocast", "expected"),
    [
        (torch.bfloat16, False, "cuda"),
        (torch.float16, False, "cuda"),
        (torch.float32, True, "cuda"),
        (torch.float32, False, "torch"),
        (torch.float64, False, "torch"),
        (torch.float64, True, "torch"),
    ],
    ids=str,
)
def test_auto_takes_the_kernels_where_half_precision_is_accepted(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, *, autocast: bool, expected: str
) -> None:
    """Half-precision embeddings or autocast; exact float32 and float64 stay with torch. No warning: it is a rule."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _device_type: autocast)
    assert expected == resolve_backend("auto", embeddings(dtype=dtype), tau=TAU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_auto_on_the_cpu_is_no_fallback(dtype: torch.dtype) -> None:
    """Nobody hopes for CUDA kernels there: no warning, which would fail this test."""
    assert resolve_backend("auto", embeddings("cpu", dtype=dtype), tau=TAU) == "torch"


@pytest.mark.usefixtures("good_gpu")
@pytest.mark.parametrize(
    ("width", "tau", "cause"), [(WIDEST + 1, TAU, f"at most {WIDEST} numbers"), (64, UNSAFE_TAU, "temperature tau")]
)
def test_auto_falls_back_with_one_warning(width: int, tau: float, cause: str) -> None:
    """The cause is named the first time; a training loop is not flooded."""
    with pytest.warns(RuntimeWarning, match=f"computed by PyTorch, not by the CUDA kernels: .*{cause}") as caught:
        chosen = [resolve_backend("auto", embeddings(width=width), tau=tau) for _ in range(3)]
    assert chosen == ["torch"] * 3
    assert len(caught) == 1


@pytest.mark.parametrize("capability", [(7, 5), (6, 1)])
def test_an_old_gpu_is_named(gpu_with: Callable[..., None], capability: tuple[int, int]) -> None:
    """Automatically one warning, by name an error, both with the GPU and what it lacks."""
    gpu_with(capability)
    cause = re.escape("Test GPU has compute capability {}.{}, and bfloat16 needs 8.0".format(*capability))
    with pytest.warns(RuntimeWarning, match=cause):
        assert resolve_backend("auto", embeddings(), tau=TAU) == "torch"
    with pytest.raises(DeviceUnavailableError, match=cause):
        resolve_backend("cuda", embeddings(), tau=TAU)


def test_a_compiler_that_fails_is_named(gpu_with: Callable[..., None]) -> None:
    """Missing packages, a driver too old: whatever the launcher says when it loads a kernel."""
    gpu_with((9, 0), failure="The package cuda-bindings cannot be imported.")
    with pytest.warns(RuntimeWarning, match="cuda-bindings cannot be imported"):
        assert resolve_backend("auto", embeddings(), tau=TAU) == "torch"
    with pytest.raises(DeviceUnavailableError, match="cuda-bindings cannot be imported"):
        resolve_backend("cuda", embeddings(), tau=TAU)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DeviceUnavailableError("No such entry, and no compiler."), "No such entry, and no compiler"),
        (RuntimeError("CUDA error: device busy\nCompile with ..."), r"cannot use this GPU \(CUDA error: device busy\)"),
    ],
    ids=["a cache copied in part", "a GPU of another process"],
)
@pytest.mark.parametrize("number", range(sum(len(module.defines) for module in KERNEL_MODULES)))
def test_a_kernel_that_cannot_be_loaded_shows_before_it_is_needed(
    gpu_with: Callable[..., None], monkeypatch: pytest.MonkeyPatch, number: int, error: Exception, cause: str
) -> None:
    """Whichever of the modules it is in: PyTorch takes over, and training does not end in its first step."""
    gpu_with((9, 0))
    loaded = []

    def load(*request: object) -> None:
        loaded.append(request)
        if len(loaded) == number + 1:
            raise error

    monkeypatch.setattr(backend_choice, "launch_on_gpu", SimpleNamespace(load=load))
    with pytest.warns(RuntimeWarning, match=cause):
        assert resolve_backend("auto", embeddings(), tau=TAU) == "torch"


def test_a_good_gpu_is_used(gpu_with: Callable[..., None]) -> None:
    """Capability 8.0 or newer and a kernel that loads."""
    gpu_with((8, 0))
    assert device_obstacle(GPU) is None
    assert resolve_backend("auto", embeddings(), tau=TAU) == "cuda"


def test_an_amd_gpu_is_no_nvidia_gpu(gpu_with: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch calls AMD's devices "cuda" too."""
    gpu_with((9, 0))
    monkeypatch.setattr(torch.version, "cuda", None)
    assert device_obstacle(GPU) == "This PyTorch sees no NVIDIA GPU."


@pytest.mark.usefixtures("good_gpu")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_the_kernels_can_be_asked_for_by_name(dtype: torch.dtype) -> None:
    """Who writes "cuda" has accepted bfloat16 products."""
    assert resolve_backend("cuda", embeddings(dtype=dtype), tau=TAU) == "cuda"


@pytest.mark.usefixtures("good_gpu")
@pytest.mark.parametrize(
    ("dtype", "width", "tau", "cause"),
    [
        (torch.float64, 64, TAU, "float64 embeddings meaningless"),
        (torch.bfloat16, WIDEST + 1, TAU, f"at most {WIDEST} numbers"),
        (torch.bfloat16, 64, UNSAFE_TAU, "temperature tau"),
    ],
    ids=["float64", "too wide", "tau"],
)
def test_what_does_not_suit_the_kernels_is_refused_by_name(
    dtype: torch.dtype, width: int, tau: float, cause: str
) -> None:
    """Never computed by something else than asked for."""
    with pytest.raises(UsageError, match=rf'backend asks for "cuda", .*"torch" runs everywhere.*{cause}'):
        resolve_backend("cuda", embeddings(dtype=dtype, width=width), tau=tau)


def test_kernels_for_the_cpu_are_refused() -> None:
    """The error says where the embeddings are; exit code 16."""
    with pytest.raises(DeviceUnavailableError, match="embeddings are on the device cpu"):
        class_lse(torch.eye(3), torch.tensor([0, 1, 2]), tau=TAU, backend="cuda")


def test_unknown_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name is an error, in the call and in the environment."""
    with pytest.raises(UsageError, match=r'Expected backend to be .* got "triton"'):
        class_lse(torch.eye(3), torch.tensor([0, 1, 2]), tau=TAU, backend="triton")
    monkeypatch.setenv(BACKEND_VARIABLE, "gpu")
    with pytest.raises(UsageError, match=f'Expected {BACKEND_VARIABLE} to be .* got "gpu"'):
        resolve_backend("auto", embeddings("cpu"), tau=TAU)


@pytest.mark.usefixtures("good_gpu")
def test_the_environment_decides_for_auto_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCLF_KERNEL_BACKEND takes the place of "auto" and leaves a choice by name alone."""
    monkeypatch.setenv(BACKEND_VARIABLE, "cuda")
    assert resolve_backend("auto", embeddings(dtype=torch.float32), tau=TAU) == "cuda"
    assert resolve_backend("torch", embeddings(), tau=TAU) == "torch"
    monkeypatch.setenv(BACKEND_VARIABLE, "torch")
    assert resolve_backend("auto", embeddings(), tau=TAU) == "torch"
    monkeypatch.setenv(BACKEND_VARIABLE, "")
    assert resolve_backend("auto", embeddings(), tau=TAU) == "cuda"


def test_the_environment_forces_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced means forced, and the message names the variable."""
    monkeypatch.setenv(BACKEND_VARIABLE, "cuda")
    with pytest.raises(DeviceUnavailableError, match=f'{BACKEND_VARIABLE} asks for "cuda"'):
        class_lse(torch.eye(3), torch.tensor([0, 1, 2]), tau=TAU)


@pytest.mark.parametrize("function", ["lse_forward", "lse_backward", "softplus_forward", "softplus_backward"])
def test_each_backend_gets_what_it_needs(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """The CUDA form of an operation hands its inputs to the backend named last, and to the kernels a launcher."""
    monkeypatch.setattr(torch_backend, function, lambda *inputs: ("torch", *inputs))
    monkeypatch.setattr(cuda_backend, function, lambda *inputs, launcher: ("cuda", *inputs, launcher))
    run = autograd._on_gpu(function)
    assert run(1, 2, "torch") == ("torch", 1, 2)
    assert run(1, 2, "cuda") == ("cuda", 1, 2, driver.launch_on_gpu)


def test_the_operations_know_shapes_on_a_gpu() -> None:
    """The forms without data give what the kernels give, for tensors on a GPU."""
    with FakeTensorMode():
        z, roles = torch.empty(7, 128, device=GPU), torch.empty(7, dtype=torch.int64, device=GPU)
        bias, upstream = torch.empty(7, device=GPU), torch.empty(7, 3, device=GPU)
        lse = autograd.class_lse_op(z, roles, None, TAU, "cuda")
        sums = autograd.pair_softplus_op(z, roles, None, bias, TAU, "cuda")
        dz = autograd.class_lse_backward_op(upstream, z, roles, None, lse, TAU, "cuda")
        both = autograd.pair_softplus_backward_op(bias, z, roles, None, bias, TAU, "cuda")
    assert [tuple(t.shape) for t in (lse, sums, dz, *both)] == [(7, 3), (7,), (7, 128), (7, 128), (7,)]
    assert {t.device for t in (lse, sums, dz, *both)} == {GPU}


def test_compiled_graphs_choose_as_eager_does() -> None:
    """With sizes and temperatures that change, one graph after the other, and an error by name."""
    compiled = torch.compile(
        lambda z, roles, tau, backend: class_lse(z, roles, tau=tau, backend=backend),
        backend="aot_eager",
        fullgraph=True,
    )
    for count, width, tau in ((9, 5, 0.1), (11, 6, 0.2), (13, 7, 0.3)):
        z, roles = torch.randn(count, width), torch.arange(count) % 3
        torch.testing.assert_close(compiled(z, roles, tau, "auto"), class_lse(z, roles, tau=tau))
    with pytest.raises(Exception, match="embeddings are on the device cpu"), warnings.catch_warnings():
        compiled(torch.eye(3), torch.arange(3), TAU, "cuda")
