from __future__ import annotations

import pytest
import torch

from nclforensics.errors import ShapeError
from nclforensics.losses.pivot_consistency import pivot_consistency_loss
from tests.reference import pivot_consistency as reference


def features(count: int, seed: int) -> torch.Tensor:
    """Return seeded features (count, 6) that ask for a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("count", [0, 1, 9])
def test_loss_equals_the_loop(count: int) -> None:
    """The value is that of the formula, 0 without contour patches."""
    plus, minus = features(count, 0), features(count, 1)
    expected = reference.pivot_consistency_loss(plus.tolist(), minus.tolist())
    assert expected == pytest.approx(float(pivot_consistency_loss(plus, minus).detach()), abs=1e-12)


def test_gradient_reaches_both_branches() -> None:
    """Finite differences agree in both arguments."""
    assert torch.autograd.gradcheck(pivot_consistency_loss, (features(4, 0), features(4, 1)))


@pytest.mark.parametrize(("factor", "expected"), [(3.0, 0.0), (-0.5, 2.0)])
def test_only_direction_counts(factor: float, expected: float) -> None:
    """Parallel features cost 0, opposite ones 2, at any length."""
    plus = features(5, 0)
    assert expected == pytest.approx(float(pivot_consistency_loss(plus, factor * plus).detach()), abs=1e-12)


def test_no_contour_patch_gives_zero_gradient() -> None:
    """Without contour patches the loss is still connected, so that backward runs."""
    plus, minus = features(0, 0), features(0, 1)
    torch.autograd.backward(pivot_consistency_loss(plus, minus))
    assert plus.grad is not None
    assert plus.grad.shape == (0, 6)


@pytest.mark.parametrize("length", [0.0, 1e-12])
def test_zero_vector_has_no_direction(length: float) -> None:
    """A vector of (nearly) no length costs 1 and neither sends nor receives a huge gradient."""
    plus = (length * features(1, 0)).float().detach().requires_grad_()
    minus = features(1, 1).float().detach().requires_grad_()
    loss = pivot_consistency_loss(plus, minus)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 1
    for tensor in (plus, minus):
        assert tensor.grad is not None
        assert torch.equal(tensor.grad, torch.zeros(1, 6))


def test_bfloat16_is_computed_in_float32() -> None:
    """Half-precision features give the loss of the rounded features in float32."""
    plus, minus = features(9, 0).bfloat16(), features(9, 1).bfloat16()
    loss = pivot_consistency_loss(plus, minus)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, pivot_consistency_loss(plus.float(), minus.float()))


def test_different_shapes_are_refused() -> None:
    """Branches that disagree in shape are an error, not a broadcast."""
    with pytest.raises(ShapeError, match=r"\(C, F\)"):
        pivot_consistency_loss(features(3, 0), features(1, 1))
