"""The image head reads plain sums over cells, and holds the score map down without changing the order of its pixels."""

from __future__ import annotations

import math

import pytest
import torch

from nclforensics.networks.image_head import GAIN, ImageHead

CHANNELS = 6


@pytest.fixture
def head() -> ImageHead:
    """Return a head with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ImageHead(CHANNELS, hidden=5, bias=2.0, leak=0.02)


def _cells(*, seed: int, batch: int = 2, side: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, CHANNELS, side, side, generator=generator)
    return features, 3 * torch.randn(batch, 1, side, side, generator=generator)


def _reference(head: ImageHead, features: torch.Tensor, logits: torch.Tensor) -> float:
    """Return one image's logit, cell by cell, from the definition: means inside, outside, contrast, spread, shares."""
    cells = [(features[:, y, x].double(), float(logits[0, y, x])) for y in range(5) for x in range(5)]
    scores = [1 / (1 + math.exp(-value)) for _, value in cells]
    inside = sum(score**2 for score in scores)
    zero = torch.zeros(CHANNELS, dtype=torch.float64)
    mean = sum((score**2 * u for score, (u, _) in zip(scores, cells, strict=True)), zero) / inside
    rest = sum(((1 - score**2) * u for score, (u, _) in zip(scores, cells, strict=True)), zero) / (25 - inside)
    centre = sum((u for u, _ in cells), zero) / 25
    spread = (sum(((u - centre) ** 2 for u, _ in cells), zero) / 25 + 1e-4).sqrt()
    shares = [inside / 25, sum(scores) / 25, sum(math.exp(value) for _, value in cells) / 25]
    read = torch.cat([mean, rest, (mean - rest) / spread, spread, torch.tensor(shares).double().log()])
    return float(head.double().score(read))


def test_logit_is_that_of_the_slow_reference(head: ImageHead) -> None:
    """Vectorized sums and a loop over cells agree."""
    features, logits = _cells(seed=1)
    with torch.inference_mode():
        found = head(head.sums(features, logits))
        expected = [_reference(head, features[index], logits[index]) for index in range(2)]
    assert found.tolist() == pytest.approx(expected, abs=2e-5)


@torch.inference_mode()
def test_sums_of_tiles_add_up(head: ImageHead) -> None:
    """An image cut in two gives the same sums."""
    features, logits = _cells(seed=2)
    whole = head.sums(features, logits)
    parts = [head.sums(features[..., cut], logits[..., cut]) for cut in (slice(0, 2), slice(2, 5))]
    torch.testing.assert_close(parts[0] + parts[1], whole)


@pytest.mark.parametrize("level", [-60.0, 60.0], ids=["nothing suspected", "all suspected"])
@torch.inference_mode()
def test_extreme_maps_have_a_finite_logit(head: ImageHead, level: float) -> None:
    """No inside, or no outside, is no division by zero."""
    features, _ = _cells(seed=3)
    assert head(head.sums(features, torch.full((2, 1, 5, 5), level))).isfinite().all()


def test_gradient_goes_to_the_features_only(head: ImageHead) -> None:
    """The map shows the head where to look; the head does not pull on the map."""
    features, logits = (part.requires_grad_() for part in _cells(seed=4))
    head(head.sums(features, logits)).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().min() > 0
    assert logits.grad is None


@torch.inference_mode()
def test_autocast_does_not_round_the_logit(head: ImageHead) -> None:
    """One number an image is computed in float32 whatever the network runs in."""
    features, logits = _cells(seed=5)
    plain = head(head.sums(features, logits))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(head.sums(features, logits)), plain)


@pytest.mark.parametrize(("bias", "leak"), [(0.0, 0.1), (2.0, 0.02), (-1.0, 1.0)])
def test_combined_logits_follow_the_definition(bias: float, leak: float) -> None:
    """Up to the image's logit a pixel keeps its own, above it only a share."""
    levels = [-3.0, 0.0, 0.5, 2.0]
    head = ImageHead(CHANNELS, bias=bias, leak=leak)
    combined = head.combine(torch.tensor(levels).view(1, 1, 2, 2), torch.tensor([1.0])).flatten().tolist()
    own = [GAIN * level + bias for level in levels]
    assert combined == pytest.approx([level if level <= 1 else 1 + leak * (level - 1) for level in own])


@pytest.mark.parametrize("image", [-8.0, -1.0, 0.0, 4.0])
def test_the_order_of_pixels_is_kept(head: ImageHead, image: float) -> None:
    """However far the image's logit holds the map down, a higher pixel stays higher."""
    pixels = torch.linspace(-9, 9, 400).view(1, 1, 20, 20)
    combined = head.combine(pixels, torch.tensor([image])).flatten()
    assert (combined.diff() > 0).all()


def test_an_image_without_evidence_has_an_empty_map(head: ImageHead) -> None:
    """A confident pixel does not pass 0.5 where the image's own logit is low."""
    pixels = torch.full((1, 1, 4, 4), 3.0)
    assert head.combine(pixels, torch.tensor([-2.0])).max() < 0
    assert head.combine(pixels, torch.tensor([2.0])).min() > 0
