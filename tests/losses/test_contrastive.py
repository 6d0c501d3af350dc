from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
import torch
import torch.nn.functional as F

from nclforensics.errors import UsageError
from nclforensics.losses.contrastive import contrastive_loss
from tests.reference import contrastive as reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.config import ContrastiveForm
    from nclforensics.losses.contrastive import ContourSide

FORMS: tuple[ContrastiveForm, ...] = ("infonce", "supcon", "pixel")
SIDES: tuple[ContourSide, ...] = ("tampered", "authentic", "drop")
HARD_ROLES = {
    "mixed": [0, 1, 2, -1, 0, 2, 1, 0, 1, 0, 2, -1],
    "all authentic": [0] * 6,
    "all tampered": [1] * 6,
    "all contour": [2] * 6,
    "no contour": [0, 1, 1, 0, 0, 1],
    "one patch": [2],
    "all ignored": [-1] * 4,
    "single in its class": [0, 0, 0, 1],
    "one pair": [0, 1],
}
every_form = pytest.mark.parametrize("form", FORMS)
every_side = pytest.mark.parametrize("contour", SIDES)


def embed(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return seeded unit embeddings (count, 5) that ask for a gradient."""
    z = torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    return F.normalize(z, dim=1).to(dtype).requires_grad_()


@every_form
@every_side
@pytest.mark.parametrize("roles", HARD_ROLES.values(), ids=HARD_ROLES.keys())
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "two groups"])
def test_loss_equals_the_loop(roles: list[int], contour: ContourSide, form: ContrastiveForm, *, grouped: bool) -> None:
    """Value and gradient are those of the published formula, on the masks that hurt too."""
    z = embed(len(roles))
    groups = [i % 2 for i in range(len(roles))] if grouped else [0] * len(roles)
    expected = reference.contrastive_loss(z, roles, groups, contour=contour, form=form, tau=0.2)
    actual = contrastive_loss(
        z, torch.tensor(roles), contour=contour, form=form, tau=0.2, groups=torch.tensor(groups) if grouped else None
    )
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, z)[0], torch.autograd.grad(expected, z)[0])


@every_form
def test_gradient_agrees_with_finite_differences(form: ContrastiveForm) -> None:
    """The whole chain, from embeddings to the scalar, is differentiated right."""
    z, roles = embed(9), torch.tensor([0, 0, 1, 1, 2, 2, -1, 0, 2])

    def loss(z: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(z, roles, contour="tampered", form=form, tau=0.3)

    assert torch.autograd.gradcheck(loss, (z,))


@every_form
@pytest.mark.parametrize("kind", [0, 1], ids=["authentic", "tampered"])
def test_image_of_one_kind_adds_nothing(form: ContrastiveForm, kind: int) -> None:
    """Without negatives the loss is 0, and backward gives zeros and no NaN."""
    z = embed(20, torch.float32)
    loss = contrastive_loss(z, torch.full((20,), kind), contour="tampered", form=form, tau=0.1)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert z.grad is not None
    assert torch.equal(z.grad, torch.zeros(20, 5))


@every_form
def test_authentic_image_does_not_dilute_the_others(form: ContrastiveForm) -> None:
    """The mean is over anchors that count, so an authentic image beside a forged one changes nothing."""
    z, roles = embed(12), torch.tensor([0, 0, 1, 1, 2, 2] + [0] * 6)
    groups = torch.arange(12) // 6
    alone = contrastive_loss(z[:6], roles[:6], contour="tampered", form=form, tau=0.2)
    torch.testing.assert_close(contrastive_loss(z, roles, contour="tampered", form=form, tau=0.2, groups=groups), alone)


def test_contour_role_changes_the_loss() -> None:
    """The three roles of contour patches are three different losses."""
    z, roles = embed(12), torch.tensor(HARD_ROLES["mixed"])
    losses = {float(contrastive_loss(z, roles, contour=side, form="infonce", tau=0.2).detach()) for side in SIDES}
    assert len(losses) == 3


@every_form
def test_separated_sides_are_cheaper_than_mixed_ones(form: ContrastiveForm) -> None:
    """Embeddings that follow the roles have a lower loss than embeddings that contradict them."""
    corners = torch.eye(2).repeat_interleave(4, dim=0)
    right, wrong = torch.arange(8) // 4, torch.arange(8) % 2
    losses = [float(contrastive_loss(corners, roles, contour="drop", form=form, tau=0.1)) for roles in (right, wrong)]
    assert losses[0] < losses[1] - 1


@every_form
def test_order_of_patches_does_not_matter(form: ContrastiveForm) -> None:
    """The loss is a function of a set."""
    z, roles = embed(12), torch.tensor(HARD_ROLES["mixed"])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        contrastive_loss(z[order], roles[order], contour="authentic", form=form, tau=0.2),
        contrastive_loss(z, roles, contour="authentic", form=form, tau=0.2),
    )


@every_form
def test_loss_compiles_as_one_graph(form: ContrastiveForm) -> None:
    """torch.compile(fullgraph=True) finds no break, and value and gradient stay the same."""
    z, roles, groups = embed(12), torch.tensor(HARD_ROLES["mixed"]), torch.arange(12) % 2

    def loss(z: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(z, roles, contour="tampered", form=form, tau=0.2, groups=groups)

    torch.compiler.reset()
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(loss, backend="aot_eager", fullgraph=True)
    plain, fused = loss(z), compiled(z)
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(torch.autograd.grad(fused, z)[0], torch.autograd.grad(plain, z)[0])


@pytest.mark.parametrize(("form", "contour"), [("triplet", "drop"), ("infonce", "pivot")])
def test_unknown_settings_are_refused(form: Literal["infonce"], contour: Literal["drop"]) -> None:
    """A misspelt form, or "pivot" for a single branch, is an error."""
    with pytest.raises(UsageError, match=r"Expected (form|contour) to be"):
        contrastive_loss(embed(4), torch.tensor([0, 0, 1, 1]), contour=contour, form=form, tau=0.1)
