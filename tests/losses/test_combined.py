from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from nclforensics.config import ContourRole, LossConfig
from nclforensics.losses.combined import CombinedLoss, LossInputs
from nclforensics.losses.contrastive import contrastive_loss
from nclforensics.losses.pivot_consistency import pivot_consistency_loss

ROLES = [0, 0, 1, 1, 2, 2, -1, 0]


def inputs_of(roles: list[int], seed: int = 0) -> LossInputs:
    """Return the inputs of one image with the given patches, in two groups; every float asks for a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    num_contour = roles.count(2)
    masks = torch.zeros(1, 1, 16, 16)
    masks[..., 4:8, 4:12] = float(any(role > 0 for role in roles))
    return LossInputs(
        logits=draw(1, 1, 16, 16),
        masks=masks,
        embeddings_plus=F.normalize(draw(len(roles), 4), dim=1),
        embeddings_minus=F.normalize(draw(len(roles), 4), dim=1),
        roles=torch.tensor(roles, dtype=torch.int64),
        groups=torch.arange(len(roles)) % 2,
        contour_features_plus=draw(num_contour, 6),
        contour_features_minus=draw(num_contour, 6),
    )


def test_total_is_the_weighted_sum() -> None:
    """The total is what the formula of docs/losses.md makes of the reported terms."""
    config = LossConfig(bce=0.7, dice=0.3, edge=0.2, contrastive=0.5, pivot_consistency=0.4)
    terms = CombinedLoss(config)(inputs_of(ROLES)).scalars()
    expected = 0.7 * terms["bce"] + 0.3 * terms["dice"] + 0.2 * terms["edge"] + 0.4 * terms["pivot_consistency"]
    expected += 0.5 * (terms["contrastive_plus"] + terms["contrastive_minus"]) / 2
    assert terms.pop("image") == 0, "there is no image head; tests/losses/test_image_term.py has one"
    assert min(terms.values()) > 0
    assert expected == pytest.approx(terms["total"], rel=1e-6)


@pytest.mark.parametrize(
    ("contour", "plus", "minus"),
    [
        ("pivot", "tampered", "authentic"),
        ("drop", "drop", "drop"),
        ("tampered", "tampered", "tampered"),
        ("authentic", "authentic", "authentic"),
    ],
)
def test_contour_switch_gives_each_branch_its_side(contour: ContourRole, plus: str, minus: str) -> None:
    """Branch plus and branch minus see contour patches on the side that the switch says."""
    inputs = inputs_of(ROLES)
    terms = CombinedLoss(LossConfig(contour=contour, tau=0.2))(inputs)
    sides = {
        side: [
            contrastive_loss(z, inputs.roles, contour=side, form="infonce", tau=0.2, groups=inputs.groups)
            for z in (inputs.embeddings_plus, inputs.embeddings_minus)
        ]
        for side in ("tampered", "authentic", "drop")
    }
    assert torch.equal(terms.contrastive_plus, sides[plus][0])
    assert torch.equal(terms.contrastive_minus, sides[minus][1])


def test_pivot_term_reads_the_contour_features() -> None:
    """The pivot-consistent term is the loss of the two branches' contour features."""
    inputs = inputs_of(ROLES)
    expected = pivot_consistency_loss(inputs.contour_features_plus, inputs.contour_features_minus)
    assert torch.equal(CombinedLoss(LossConfig())(inputs).pivot_consistency, expected)


def test_every_input_receives_a_gradient() -> None:
    """With all weights on, logits, both embeddings and both contour features are trained."""
    inputs = inputs_of(ROLES)
    leaves = [
        inputs.logits,
        inputs.embeddings_plus,
        inputs.embeddings_minus,
        inputs.contour_features_plus,
        inputs.contour_features_minus,
    ]
    gradients = torch.autograd.grad(CombinedLoss(LossConfig(edge=0.1))(inputs).total, leaves)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("roles", [[0] * 5, [1] * 5, [0, 1, 0, 1], [0], [-1, -1], []])
def test_hard_masks_give_finite_gradients(roles: list[int]) -> None:
    """All authentic, all tampered, no contour, one patch, all ignored, no patch: backward always works."""
    inputs = inputs_of(roles)
    total = CombinedLoss(LossConfig(edge=0.1))(inputs).total
    leaves = [inputs.logits, inputs.embeddings_plus, inputs.embeddings_minus, inputs.contour_features_plus]
    gradients = torch.autograd.grad(total, leaves)
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_authentic_image_is_taught_by_cross_entropy_alone() -> None:
    """On an authentic image every term but the cross-entropy is exactly 0."""
    terms = CombinedLoss(LossConfig(edge=0.1))(inputs_of([0] * 8)).scalars()
    nonzero = {name for name, value in terms.items() if value != 0}
    assert {"total", "bce"} == nonzero


def test_weight_zero_skips_the_contrastive_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of 0 does not even call the contrastive loss, and reports 0."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the contrastive loss was computed")

    monkeypatch.setattr("nclforensics.losses.combined.contrastive_loss", refuse)
    monkeypatch.setattr("nclforensics.losses.combined.pivot_consistency_loss", refuse)
    terms = CombinedLoss(LossConfig(contrastive=0, pivot_consistency=0))(inputs_of(ROLES)).scalars()
    assert (terms["contrastive_plus"], terms["contrastive_minus"], terms["pivot_consistency"]) == (0, 0, 0)


def test_invalid_pixels_are_not_scored() -> None:
    """The pixels that the inputs call invalid receive no gradient."""
    valid = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    valid[..., 10:] = False
    inputs = dataclasses.replace(inputs_of(ROLES), valid=valid)
    (gradient,) = torch.autograd.grad(CombinedLoss(LossConfig(edge=0.1))(inputs).total, inputs.logits)
    assert torch.equal(valid, gradient != 0)


def test_scalars_name_every_term() -> None:
    """The report holds each term once, as plain numbers."""
    terms = CombinedLoss(LossConfig())(inputs_of(ROLES))
    assert [field.name for field in dataclasses.fields(terms)] == list(terms.scalars())
    assert all(type(value) is float for value in terms.scalars().values())


def test_backend_is_handed_down() -> None:
    """The backend of the loss reaches the operation."""
    with pytest.raises(Exception, match="The embeddings are on the device cpu"):
        CombinedLoss(LossConfig(), backend="cuda")(inputs_of(ROLES))
