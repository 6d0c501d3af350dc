from __future__ import annotations

import pytest
import torch

from nclforensics.errors import ShapeError
from nclforensics.losses.localization import EDGE_RADIUS, LocalizationTerms, boundary_band, localization_loss
from tests.reference import localization as reference

SHAPE = (3, 1, 9, 11)


def logits_of(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Return seeded logits that ask for a gradient."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def mask_of(kind: str) -> torch.Tensor:
    """Return masks (3, 1, 9, 11) of the named kind."""
    masks = torch.zeros(SHAPE, dtype=torch.float64)
    if kind == "all tampered":
        masks += 1
    if kind in {"mixed", "one pixel"}:
        masks[0, :, 4, 5] = 1
    if kind == "mixed":
        masks[1, :, :5, 6:] = 1
    return masks


def terms_of(logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor | None = None) -> LocalizationTerms:
    """Return all three terms."""
    return localization_loss(logits, masks, bce=1, dice=1, edge=1, valid=valid)


@pytest.mark.parametrize("kind", ["mixed", "one pixel", "all authentic", "all tampered"])
@pytest.mark.parametrize("masked", [False, True], ids=["all valid", "some valid"])
def test_terms_equal_the_loops(kind: str, *, masked: bool) -> None:
    """Each term and its gradient are those of the formula."""
    logits, masks = logits_of(), mask_of(kind)
    valid = torch.ones(SHAPE, dtype=torch.bool)
    if masked:
        valid[:, :, :, :2] = False
        valid[0, :, 4:6] = False
    actual = terms_of(logits, masks, valid if masked else None)
    truth, scored = masks[:, 0].bool().tolist(), valid[:, 0].tolist()
    expected = {
        "bce": reference.bce(logits[:, 0], truth, scored),
        "dice": reference.dice(logits[:, 0], truth, scored),
        "edge": reference.edge(logits[:, 0], truth, scored, EDGE_RADIUS),
    }
    for name, value in expected.items():
        term = getattr(actual, name)
        torch.testing.assert_close(term, value)
        gradients = [
            torch.autograd.grad(loss + 0 * logits.sum(), logits, retain_graph=True)[0] for loss in (term, value)
        ]
        torch.testing.assert_close(*gradients)


def test_authentic_images_are_taught_by_cross_entropy_alone() -> None:
    """On authentic images Dice and edge are 0 with zero gradient, and the cross-entropy pushes every score down."""
    logits = logits_of()
    terms = terms_of(logits, mask_of("all authentic"))
    for term in (terms.dice, terms.edge):
        (gradient,) = torch.autograd.grad(term, logits, retain_graph=True)
        assert float(term.detach()) == 0
        assert not gradient.any()
    (gradient,) = torch.autograd.grad(terms.bce, logits)
    assert (gradient > 0).all()


def test_dice_is_not_diluted_by_authentic_images() -> None:
    """Dice of a forged image is the same beside authentic images as alone."""
    logits, masks = logits_of(), mask_of("one pixel")
    torch.testing.assert_close(terms_of(logits[:1], masks[:1]).dice, terms_of(logits, masks).dice)


def test_perfect_prediction_costs_nothing() -> None:
    """Confident and right scores bring every term to 0."""
    masks = mask_of("mixed")
    terms = terms_of(200 * (masks - 0.5), masks)
    assert max(float(terms.bce), float(terms.dice), float(terms.edge)) < 1e-12


def test_invalid_pixels_have_no_gradient() -> None:
    """Padding teaches nothing, whatever the logits are there."""
    logits, valid = logits_of(), torch.ones(SHAPE, dtype=torch.bool)
    valid[..., 7:] = False
    terms = terms_of(logits, mask_of("mixed"), valid)
    (gradient,) = torch.autograd.grad(terms.bce + terms.dice + terms.edge, logits)
    assert not gradient[~valid].any()
    assert gradient[valid].any()


def test_nothing_valid_gives_zero() -> None:
    """A batch with no valid pixel costs 0 and has zero gradient, not NaN."""
    logits = logits_of()
    terms = terms_of(logits, mask_of("mixed"), torch.zeros(SHAPE, dtype=torch.bool))
    total = terms.bce + terms.dice + terms.edge
    assert float(total.detach()) == 0
    assert not torch.autograd.grad(total, logits)[0].any()


def test_band_lies_on_both_sides_of_the_boundary_only() -> None:
    """The band is `radius` pixels wide on each side, and the image's border is none."""
    masks = torch.zeros(1, 1, 4, 12)
    masks[..., 6:] = 1
    expected = [4 <= x < 8 for x in range(12)]
    assert [expected] * 4 == boundary_band(masks, 2)[0, 0].tolist()


def test_edge_reads_only_the_band() -> None:
    """Gradient of the edge term is nonzero in the band and nowhere else."""
    logits, masks = logits_of(), mask_of("mixed")
    (gradient,) = torch.autograd.grad(terms_of(logits, masks).edge, logits)
    assert torch.equal(gradient != 0, boundary_band(masks))


def test_term_of_weight_zero_is_not_computed() -> None:
    """A weight of 0 gives a plain 0 without graph."""
    terms = localization_loss(logits_of(), mask_of("mixed"), bce=0, dice=0, edge=0)
    for term in (terms.bce, terms.dice, terms.edge):
        assert float(term) == 0
        assert not term.requires_grad


def test_bfloat16_logits_are_computed_in_float32() -> None:
    """Half-precision logits give float32 terms, since a mean over many pixels needs it."""
    logits = logits_of().bfloat16()
    terms, exact = (terms_of(values, mask_of("mixed").float()) for values in (logits, logits.float()))
    assert terms.bce.dtype == torch.float32
    assert torch.equal(terms.bce, exact.bce)
    assert torch.equal(terms.dice, exact.dice)


@pytest.mark.parametrize("shape", [(3, 9, 11), (3, 1, 9, 10)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """A mask of another shape is an error, not a broadcast."""
    with pytest.raises(ShapeError, match=r"logits and masks \(B, 1, H, W\)"):
        localization_loss(logits_of(), torch.zeros(shape), bce=1, dice=1, edge=0)
