"""The decoder fuses both branches with the fine map and starts from a small prior."""

from __future__ import annotations

import pytest
import torch

from nclforensics.networks.decoder import PRIOR_TAMPERED, FusedDecoder

CASES = {"lite": {"channels": 6}, "resnet": {"channels": 6, "reduced_skip": 3, "depth": 2}}
every_decoder = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())


@every_decoder
def test_logits_have_the_asked_size(options: dict[str, int]) -> None:
    """The output grid is the caller's, one float32 logit a pixel."""
    decoder = FusedDecoder(4, 5, **options).eval()
    logits = decoder(torch.rand(2, 4, 3, 4), torch.rand(2, 4, 3, 4), torch.rand(2, 5, 6, 8), (24, 32))
    assert logits.shape == (2, 1, 24, 32)
    assert logits.dtype == torch.float32


@every_decoder
def test_every_input_is_used(options: dict[str, int]) -> None:
    """Both branches and the skip map receive a gradient."""
    decoder = FusedDecoder(4, 5, **options).eval()
    inputs = [torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3), torch.rand(1, 5, 6, 6)]
    for tensor in inputs:
        tensor.requires_grad_()
    plus, minus, skip = inputs
    gradients = torch.autograd.grad(decoder(plus, minus, skip, (24, 24)).sum(), inputs)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@every_decoder
def test_the_branches_are_not_interchangeable(options: dict[str, int]) -> None:
    """Each branch has weights of its own in the fusion: exchanging them changes the logits."""
    decoder = FusedDecoder(4, 5, **options).eval()
    a, b, skip = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3), torch.rand(1, 5, 6, 6)
    assert not torch.allclose(decoder(a, b, skip, (24, 24)), decoder(b, a, skip, (24, 24)))


def test_an_untrained_decoder_guesses_the_prior() -> None:
    """Scores start near the expected share of tampered pixels, not near one half."""
    decoder = FusedDecoder(4, 5, channels=64)
    scores = decoder(torch.rand(4, 4, 4, 4), torch.rand(4, 4, 4, 4), torch.rand(4, 5, 8, 8), (32, 32)).sigmoid()
    assert scores.mean().item() == pytest.approx(PRIOR_TAMPERED, rel=0.3)


def test_cells_stay_where_they_are() -> None:
    """Upsampling does not shift: a mirrored input gives the mirrored output for mirror-symmetric kernels."""
    decoder = FusedDecoder(1, 1, channels=2).eval()
    with torch.no_grad():
        for parameter in decoder.fuse.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter + parameter.flip(3))
    plus, minus, skip = torch.rand(1, 1, 3, 5), torch.rand(1, 1, 3, 5), torch.rand(1, 1, 6, 10)
    mirrored = decoder(plus.flip(3), minus.flip(3), skip.flip(3), (24, 40))
    torch.testing.assert_close(mirrored.flip(3), decoder(plus, minus, skip, (24, 40)))
