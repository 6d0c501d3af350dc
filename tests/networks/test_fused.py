"""Folding batch norms into convolutions changes the work, not the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from nclforensics.networks.fused import fold_batch_norms
from tests.tiny_model import make_network

if TYPE_CHECKING:
    from nclforensics.networks.pivot import PivotNetwork

# Largest difference of a score; measured with trained-like statistics: below 1e-6.
TOLERANCE = 1e-5


def test_a_folded_convolution_is_convolution_and_norm() -> None:
    """Weights, bias, epsilon and the statistics all count; the bias of the convolution itself too."""
    convolution, norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5, eps=0.1)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.1, 2)  # type: ignore[arg-type]
    pair = nn.Sequential(convolution, norm).eval()
    images = torch.rand(2, 3, 9, 8)
    torch.testing.assert_close(fold_batch_norms(pair)(images), pair(images), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_scores_stay(lite: PivotNetwork) -> None:
    """Every score of the folded network is within the tolerance of the network's own."""
    images = torch.rand(1, 3, 75, 90)
    expected = lite(images).logits.sigmoid()
    actual = fold_batch_norms(lite)(images).logits.sigmoid()
    assert expected.std() > 100 * TOLERANCE
    assert (actual - expected).abs().max() < TOLERANCE


@pytest.fixture
def lite() -> PivotNetwork:
    """Return a lite network whose norms are not neutral."""
    return make_network()


def test_only_norms_without_a_convolution_are_left(lite: PivotNetwork) -> None:
    """Norms of error levels and streams stand alone; all others are gone, and the original keeps its own."""
    before = [name for name, part in lite.named_modules() if isinstance(part, nn.BatchNorm2d)]
    folded = fold_batch_norms(lite)
    left = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert left == ["mosaic.gather.0", "quantization.norm", "encoder.block_norm"]
    assert [name for name, part in lite.named_modules() if isinstance(part, nn.BatchNorm2d)] == before


def test_the_original_is_left_as_it_is() -> None:
    """A network in training stays in training, with the same weights."""
    network = make_network().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold_batch_norms(network)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
