"""Each patch has exactly one role, the one that the share of its tampered pixels gives it."""

from __future__ import annotations

import pytest
import torch

from nclforensics.patches.roles import AUTHENTIC, CONTOUR, IGNORED, TAMPERED, assign_roles
from tests.factories import make_mask
from tests.reference import roles as reference

SIZES = [(1, 1), (7, 9), (16, 24), (17, 23), (40, 33)]


def _masks(kind: str, size: tuple[int, int]) -> torch.Tensor:
    """Return two masks (2, H, W) of a kind."""
    if kind == "noise":
        return torch.rand(2, *size) < 0.5
    if kind == "box":
        box = torch.from_numpy(make_mask(*size, box=(3, 5, size[0] - 2, size[1])))
        return torch.stack([box, ~box])
    return torch.full((2, *size), kind == "all tampered")


@pytest.mark.parametrize("size", SIZES, ids=[f"{height}x{width}" for height, width in SIZES])
@pytest.mark.parametrize("kind", ["noise", "box", "all authentic", "all tampered"])
@pytest.mark.parametrize("band", [None, "random", "edge"], ids=["no band", "random band", "edge band"])
@pytest.mark.parametrize("stride", [2, 8])
def test_roles_equal_the_loop(size: tuple[int, int], kind: str, band: str | None, stride: int) -> None:
    """Ragged sizes and "do not score" zones included, each patch has the role that the rule gives it."""
    masks = _masks(kind, size)
    valid = None
    if band == "random":
        valid = torch.rand(2, *size) < 0.95
    elif band == "edge":
        valid = torch.ones(2, *size, dtype=torch.bool)
        valid[:, :3] = False
    actual = assign_roles(masks, stride, valid=valid)
    zones = [None, None] if valid is None else list(valid)
    expected = [reference.assign_roles(mask, stride, valid=zone) for mask, zone in zip(masks, zones, strict=True)]
    assert actual.dtype == torch.int64
    assert actual.tolist() == expected


@pytest.mark.parametrize(
    ("tampered", "role"),
    [(0, AUTHENTIC), (1, CONTOUR), (32, CONTOUR), (63, CONTOUR), (64, TAMPERED)],
)
def test_one_pixel_makes_a_contour_patch(tampered: int, role: int) -> None:
    """Only a patch without any tampered pixel is authentic, only one of nothing else is tampered."""
    mask = torch.zeros(64, dtype=torch.bool)
    mask[:tampered] = True
    assert assign_roles(mask.view(1, 8, 8), 8).item() == role


@pytest.mark.parametrize("tampered", [False, True])
def test_patches_over_the_edge_are_ignored(*, tampered: bool) -> None:
    """A patch that touches padding has no role, whatever its pixels are."""
    roles = assign_roles(torch.full((1, 9, 16), tampered), 8)
    whole = TAMPERED if tampered else AUTHENTIC
    assert roles.tolist() == [[[whole, whole], [IGNORED, IGNORED]]]


def test_inverting_the_mask_exchanges_the_roles() -> None:
    """Authentic becomes tampered and the reverse; contour and ignored stay."""
    masks, valid = torch.rand(2, 35, 40).round().bool() & (torch.arange(40) > 15), torch.rand(2, 35, 40) < 0.999
    masks[..., 24:] = True
    roles = assign_roles(masks, 8, valid=valid)
    assert set(roles.flatten().tolist()) == {AUTHENTIC, TAMPERED, CONTOUR, IGNORED}
    exchanged = torch.tensor([TAMPERED, AUTHENTIC, CONTOUR, IGNORED])[roles]
    assert torch.equal(assign_roles(~masks, 8, valid=valid), exchanged)
