"""How common coefficients are equals loops over blocks and bins, and shows what was saved in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from nclforensics.config import ModelConfig
from nclforensics.errors import ShapeError
from nclforensics.networks.build import build_network
from nclforensics.networks.quantization import (
    LARGEST,
    RARE,
    WINDOWS,
    QuantizationStream,
    QuantizationTraces,
    commonness,
    histograms,
    looked_up,
)
from tests.reference import quantization as reference

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _magnitudes(picture: NDArray[np.uint8]) -> torch.Tensor:
    traces: torch.Tensor = QuantizationTraces()(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    return traces


def _common(picture: NDArray[np.uint8], window: int) -> torch.Tensor:
    """Return how common the blocks are, summed over frequencies, shape (H / 8, W / 8)."""
    magnitudes = _magnitudes(picture)
    return looked_up(commonness(histograms(magnitudes), window), magnitudes)[0].sum(0)


def test_traces_equal_the_sum() -> None:
    """Each frequency, in the order of a JPEG's scan, is the sum over the block's pixels."""
    image = np.random.default_rng(0).random((3, 16, 24))
    actual = QuantizationTraces()(torch.from_numpy(image).float()[None])[0]
    assert actual.shape == (QuantizationTraces.out_channels, 2, 3)
    np.testing.assert_allclose(actual.numpy(), reference.magnitudes(image, largest=LARGEST), atol=1e-3)


def test_histograms_equal_the_loop() -> None:
    """Whole magnitudes count once, those between two bins for both, those beyond the end for the last one."""
    values = np.concatenate([[0, 0.25, 1, 1.5, 63.75, 64, 64], np.random.default_rng(1).uniform(0, LARGEST, 53)])
    actual = histograms(torch.from_numpy(values).float().view(1, 1, 6, 10))[0, 0]
    np.testing.assert_allclose(actual.numpy(), reference.shares(values, largest=LARGEST), atol=1e-4)
    torch.testing.assert_close(actual.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("window", WINDOWS)
def test_commonness_equals_the_loop(window: int) -> None:
    """The log of a bin over its neighbourhood, which ends where the bins do, less the mean over the blocks."""
    bins = np.random.default_rng(2).dirichlet(np.full(LARGEST + 1, 0.3))
    actual = commonness(torch.from_numpy(bins).float().view(1, 1, -1), window)[0, 0]
    np.testing.assert_allclose(actual.numpy(), reference.commonness(bins.tolist(), window=window, rare=RARE), atol=1e-4)


def test_a_value_between_bins_is_between_theirs() -> None:
    """Lookups are continuous: rounding in the last bit of a coefficient moves nothing by more."""
    table = torch.tensor([float(number**2) for number in range(LARGEST + 1)]).view(1, 1, -1)
    at = torch.tensor([0.0, 1.0, 1.25, 63.5, 64.0]).view(1, 1, 1, 5)
    expected = torch.tensor([0.0, 1.0, 1.75, (63**2 + 64**2) / 2, 64.0**2])
    torch.testing.assert_close(looked_up(table, at).flatten(), expected)


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)], ids=["never saved", "saved off the grid"])
def test_what_does_not_follow_the_comb_is_uncommon(shift: tuple[int, int]) -> None:
    """In a photo that was saved as a JPEG, a region that was not, or was on another grid, is rarer than all else."""
    photo = reference.saved(reference.texture(3, 256), 80)
    other = reference.texture(4, 272)
    pasted = (reference.saved(other, 80) if shift != (0, 0) else other)[shift[0] :, shift[1] :][96:160, 96:160]
    photo[96:160, 96:160] = pasted
    common = _common(photo, WINDOWS[0])
    inside = torch.zeros_like(common, dtype=torch.bool)
    inside[12:20, 12:20] = True
    assert common[inside].mean() < common[~inside].mean() - 2
    assert (common[inside].median() < common[~inside]).float().mean() > 0.9


def test_what_was_saved_once_is_uncommon_among_what_was_saved_twice() -> None:
    """Double quantization: quality 60, then 85 on the same grid; the region saw the second one only."""
    photo = reference.saved(reference.texture(5, 256), 60)
    photo[96:160, 96:160] = reference.texture(6, 256)[96:160, 96:160]
    common = _common(reference.saved(photo, 85), WINDOWS[1])
    inside = torch.zeros_like(common, dtype=torch.bool)
    inside[12:20, 12:20] = True
    assert common[inside].mean() < common[~inside].mean() - 2


@torch.inference_mode()
@pytest.mark.parametrize("scale", [1, 2])
def test_histograms_of_parts_average_to_the_whole(scale: int) -> None:
    """Statistics are means over cells, as tiles need it; packed cells hold all their blocks."""
    stream = QuantizationStream(8, scale)
    magnitudes = _magnitudes(reference.texture(7, 64))
    packed = stream.packed(magnitudes)
    whole = stream.statistics(packed)
    assert packed.shape == (1, stream.in_channels, 8 // scale, 8 // scale)
    torch.testing.assert_close(whole, histograms(magnitudes).flatten(1))
    parts = [stream.statistics(part) for part in (packed[..., :3], packed[..., 3:])]
    share = 3 / packed.shape[3]
    torch.testing.assert_close(parts[0] * share + parts[1] * (1 - share), whole)


@torch.inference_mode()
def test_the_stream_reaches_three_blocks() -> None:
    """With the image's statistics given, a change moves nothing that lies farther than `reach`."""
    stream = QuantizationStream(4).eval()
    nn.init.normal_(stream.join.weight)
    packed = stream.packed(_magnitudes(reference.texture(8, 160)))
    changed = packed.clone()
    changed[..., 10] = 1.0
    shares = stream.statistics(packed)
    reached = (stream(packed, shares) - stream(changed, shares)).abs().amax((0, 1, 2)).nonzero().flatten()
    assert (reached.min().item(), reached.max().item()) == (10 - stream.reach, 10 + stream.reach)


@torch.inference_mode()
def test_larger_cells_see_the_mean_of_their_blocks() -> None:
    """At stride 16 the result is that of single blocks, averaged over each cell's four."""
    torch.manual_seed(0)
    coarse, fine = QuantizationStream(4, 2).eval(), QuantizationStream(4, 1).eval()
    nn.init.normal_(coarse.join.weight)
    fine.load_state_dict(coarse.state_dict())
    magnitudes = _magnitudes(reference.texture(9, 64))
    shares = histograms(magnitudes).flatten(1)
    expected = nn.functional.avg_pool2d(fine(magnitudes, shares), 2)
    torch.testing.assert_close(coarse(coarse.packed(magnitudes), shares), expected)


def test_an_even_picture_is_neither_common_nor_rare() -> None:
    """Where all coefficients are zero nothing was learned, and nothing is infinite."""
    magnitudes = _magnitudes(np.full((32, 32, 3), 77, np.uint8))
    for window in WINDOWS:
        found = looked_up(commonness(histograms(magnitudes), window), magnitudes)
        torch.testing.assert_close(found, torch.zeros_like(found), atol=0.05, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (1, 1)])
def test_traces_want_whole_blocks(size: tuple[int, int]) -> None:
    """A size that cuts a block is an error that names it."""
    with pytest.raises(ShapeError, match=f"multiples of 8, got {size[0]} x {size[1]}"):
        QuantizationTraces()(torch.zeros(1, 3, *size))


@torch.inference_mode()
def test_the_stream_is_small_and_starts_where_the_network_was() -> None:
    """It adds fewer than 60,000 parameters, and with weights of a network without it changes no score."""
    plain, joined = (build_network(ModelConfig(quantization=present)).eval() for present in (False, True))
    assert joined.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    added = [parameter.numel() for parameter in joined.parameters()]
    assert 0 < sum(added) - sum(parameter.numel() for parameter in plain.parameters()) < 60_000
    images = torch.rand(1, 3, 40, 56)
    assert torch.equal(joined(images).logits, plain(images).logits)
