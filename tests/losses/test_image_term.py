"""The image head's term: which images count as tampered, and its place in the total."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nclforensics.config import LossConfig
from nclforensics.errors import ShapeError
from nclforensics.losses.combined import CombinedLoss, LossInputs
from nclforensics.losses.localization import image_loss
from tests.reference import image_term as reference


def make_masks() -> torch.Tensor:
    """Return masks of a forged image, an authentic one, and one whose only tampered pixel is the last."""
    masks = torch.zeros(3, 1, 6, 8)
    masks[0, :, 2:4, 2:5] = 1
    masks[2, :, 5, 7] = 1
    return masks


def make_inputs(image_logits: torch.Tensor | None) -> LossInputs:
    """Return the inputs of three images without patches."""
    empty = torch.zeros(0, 4)
    return LossInputs(
        logits=torch.zeros(3, 1, 6, 8, requires_grad=True),
        masks=make_masks(),
        embeddings_plus=empty,
        embeddings_minus=empty,
        roles=torch.zeros(0, dtype=torch.int64),
        contour_features_plus=empty,
        contour_features_minus=empty,
        image_logits=image_logits,
    )


@pytest.mark.parametrize("masked", [False, True], ids=["all valid", "last column not"])
def test_term_equals_the_loop(*, masked: bool) -> None:
    """An image is tampered if a pixel that counts is; without its last column the third image is authentic."""
    logits, masks, valid = torch.tensor([0.5, -2.0, 3.0]), make_masks(), torch.ones(3, 1, 6, 8, dtype=torch.bool)
    if masked:
        valid[..., 7:] = False
    expected = reference.image_loss(logits.tolist(), masks[:, 0].bool().tolist(), valid[:, 0].tolist())
    assert expected == pytest.approx(float(image_loss(logits, masks, valid=valid if masked else None)), rel=1e-6)


def test_each_image_pulls_its_own_logit() -> None:
    """The gradient lowers the logit of the authentic image and raises the others."""
    logits = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(image_loss(logits, make_masks()), logits)
    torch.testing.assert_close(gradient, torch.tensor([-1.0, 1.0, -1.0]) / 6)


def test_term_is_weighted_into_the_total() -> None:
    """The total grows by weight times term, and the head is trained by it alone."""
    logits = torch.tensor([0.5, -2.0, 3.0], requires_grad=True)
    terms = CombinedLoss(LossConfig(image=0.4))(make_inputs(logits))
    without = CombinedLoss(LossConfig(image=0.4))(make_inputs(None))
    torch.testing.assert_close(terms.image, image_loss(logits, make_masks()))
    torch.testing.assert_close(terms.total, without.total + 0.4 * terms.image)
    assert float(without.image) == 0
    (gradient,) = torch.autograd.grad(terms.total, logits)
    assert gradient.all()


def test_term_of_weight_zero_is_not_computed() -> None:
    """With weight 0 the head's logits are not even connected."""
    logits = torch.zeros(3, requires_grad=True)
    terms = CombinedLoss(dataclasses.replace(LossConfig(), image=0.0))(make_inputs(logits))
    assert float(terms.image) == 0
    (gradient,) = torch.autograd.grad(terms.total, logits, allow_unused=True)
    assert gradient is None


def test_wrong_number_of_logits_is_refused() -> None:
    """One logit too few is an error, not a broadcast."""
    with pytest.raises(ShapeError, match="Expected 3 image logits"):
        image_loss(torch.zeros(1), make_masks())
