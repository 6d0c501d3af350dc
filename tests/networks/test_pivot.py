"""The pivot network accepts any image, can be run in tiles, and has two branches of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nclforensics.config import ModelConfig
from nclforensics.errors import ShapeError
from nclforensics.networks.build import build_network
from nclforensics.networks.pivot import Branch, PivotNetwork
from tests.tiny_model import make_network

if TYPE_CHECKING:
    from nclforensics.networks.pivot import Encoder
    from nclforensics.networks.strips import Runner

SIZES = [(1, 1), (7, 9), (64, 64), (65, 100)]
every_size = pytest.mark.parametrize("size", SIZES, ids=[f"{height}x{width}" for height, width in SIZES])


@pytest.fixture(params=[False, True], ids=["plain", "streams"])
def network(request: pytest.FixtureRequest) -> PivotNetwork:
    """Return a lite network with untrained weights, in eval mode, without and with both streams."""
    return make_network(streams=request.param)


@every_size
@torch.inference_mode()
def test_output_shapes_follow_the_image(network: PivotNetwork, size: tuple[int, int]) -> None:
    """Logits have the image's size, branches the patch grid, rounded up."""
    output = network(torch.rand(2, 3, *size))
    grid = (-(-size[0] // network.stride), -(-size[1] // network.stride))
    assert output.logits.shape == (2, 1, *size)
    assert output.features_plus.shape == output.features_minus.shape == (2, 8, *grid)
    assert output.embeddings_plus.shape == output.embeddings_minus.shape == (2, 8, *grid)
    assert all(part.isfinite().all() for part in output)


@every_size
@torch.inference_mode()
def test_forward_is_its_parts(network: PivotNetwork, size: tuple[int, int]) -> None:
    """Encode, statistics and decode give what forward gives, to the bit."""
    images = torch.rand(2, 3, *size)
    features = network.encode(images)
    parts = network.decode(features, network.context_statistics(features.deep), size=size)
    image_logit = network.image_logit(network.image_sums(parts))
    assert network.image_head is not None
    assert image_logit is not None
    scores = network.image_head.combine(parts.logits, image_logit)
    parts = parts._replace(image_logit=image_logit, score_logits=scores)
    pairs = zip(parts, network(images), strict=True)
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)


@every_size
@torch.inference_mode()
def test_cell_logits_are_means_over_cells(network: PivotNetwork, size: tuple[int, int]) -> None:
    """One mean a cell, over the padded image."""
    height, width = size
    stride = network.stride
    image = F.pad(torch.rand(1, 3, height, width), (0, -width % stride, 0, -height % stride), mode="replicate")
    output = network(image)
    whole = output.logits[0, 0].unfold(0, stride, stride).unfold(1, stride, stride).mean((2, 3))
    torch.testing.assert_close(network(image[..., :height, :width]).cell_logits[0, 0], whole)


@torch.inference_mode()
def test_the_image_head_holds_the_score_map_down(network: PivotNetwork) -> None:
    """Score logits are the combined ones; a network without image head scores its pixels' logits."""
    output = network(torch.rand(2, 3, 24, 24))
    assert output.image_logit is not None
    assert network.image_head is not None
    assert torch.equal(output.score_logits, network.image_head.combine(output.logits, output.image_logit))
    network.image_head = None
    plain = network(torch.rand(2, 3, 24, 24))
    assert plain.image_logit is None
    assert torch.equal(plain.score_logits, plain.logits)


@every_size
@torch.inference_mode()
def test_embeddings_have_unit_length(network: PivotNetwork, size: tuple[int, int]) -> None:
    """The embeddings of both branches lie on the unit sphere."""
    output = network(torch.rand(1, 3, *size))
    for embeddings in (output.embeddings_plus, output.embeddings_minus):
        lengths = embeddings.norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


@torch.inference_mode()
def test_images_are_padded_with_their_edge(network: PivotNetwork) -> None:
    """An image that ends within a patch is treated as if its last row and column went on."""
    image = torch.rand(1, 3, 13, 30)
    padded = network(F.pad(image, (0, 2, 0, 3), mode="replicate")).logits
    assert torch.equal(network(image).logits, padded[..., :13, :30])


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(network: PivotNetwork) -> None:
    """In eval mode an image's result does not depend on its neighbours."""
    images = torch.rand(3, 3, 24, 40)
    alone = torch.cat([network(image).logits for image in torch.split(images, 1)])
    torch.testing.assert_close(network(images).logits, alone)


def test_the_branches_share_no_weights(network: PivotNetwork) -> None:
    """Same shapes, other storage, other values: each kernel starts from its own draw."""
    plus, minus = network.branch_plus.state_dict(keep_vars=True), network.branch_minus.state_dict(keep_vars=True)
    assert {name: value.shape for name, value in plus.items()} == {name: v.shape for name, v in minus.items()}
    assert not {value.data_ptr() for value in plus.values()} & {value.data_ptr() for value in minus.values()}
    kernels = [name for name, value in plus.items() if value.ndim > 1]
    assert kernels
    assert not any(torch.equal(plus[name], minus[name]) for name in kernels)


def test_each_branch_is_trained_by_its_own_output(network: PivotNetwork) -> None:
    """The embeddings of branch plus send no gradient into branch minus, and the reverse."""
    output = network(torch.rand(1, 3, 16, 16))
    for embeddings, other in (
        (output.embeddings_plus, network.branch_minus),
        (output.embeddings_minus, network.branch_plus),
    ):
        gradients = torch.autograd.grad(
            embeddings.square().sum(), list(other.parameters()), allow_unused=True, retain_graph=True
        )
        assert all(gradient is None for gradient in gradients)


def test_gradients_reach_every_parameter(network: PivotNetwork) -> None:
    """No layer is left out of the graph in training mode."""
    output = network.train()(torch.rand(2, 3, 32, 32))
    sum(part.square().sum() for part in output).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_branch_embeds_zero_features_without_nan() -> None:
    """A cell whose projection is zero has a zero embedding, not a NaN."""
    branch = Branch(2, 3, 4)
    nn.init.zeros_(branch.project[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(branch.project[2].bias)  # type: ignore[arg-type]
    _, embeddings = branch.eval()(torch.rand(1, 2, 2, 2))
    assert torch.equal(embeddings, torch.zeros(1, 4, 2, 2))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8), (1, 3, 8, 0)], ids=str)
def test_other_shapes_are_refused(network: PivotNetwork, shape: tuple[int, ...]) -> None:
    """The message names the expected and the found shape."""
    with pytest.raises(ShapeError, match=r"Expected images \(B, 3, H, W\), got \("):
        network(torch.zeros(shape))


@pytest.mark.parametrize("vertical", [False, True], ids=["left to right", "top to bottom"])
@torch.inference_mode()
def test_a_change_beyond_the_halo_is_not_seen(network: PivotNetwork, *, vertical: bool) -> None:
    """Given the same statistics, pixels further than `halo` from a change keep their logits; nearer ones do not."""
    images = torch.rand(1, 3, 16, 384)
    changed = images.clone()
    changed[..., :64] = torch.rand(1, 3, 16, 64)
    logits = []
    statistics = network.context_statistics(network.encode(_turned(images, vertical=vertical)).deep)
    for version in (images, changed):
        features = network.encode(_turned(version, vertical=vertical))
        size = (384, 16) if vertical else (16, 384)
        logits.append(_turned(network.decode(features, statistics, size=size).logits, vertical=vertical))
    difference = (logits[0] - logits[1]).abs().amax((0, 1, 2))
    assert difference[64 + network.halo :].max() < 1e-5
    assert difference[:64].min() > 1e-4


@torch.inference_mode()
def test_a_tile_with_its_halo_equals_the_whole(network: PivotNetwork) -> None:
    """The core of a cut-out is that of the whole image; with a third of the halo it is not."""
    images = torch.rand(1, 3, 16, 640)
    features = network.encode(images)
    statistics = network.context_statistics(features.deep)
    whole = network.decode(features, statistics, size=(16, 640)).logits
    errors = []
    for halo in (network.halo, network.alignment):
        start, stop = 256 - halo, 384 + halo
        tile = network.encode(images[..., start:stop])
        logits = network.decode(tile, statistics, size=(16, stop - start)).logits
        errors.append((logits[..., halo:-halo] - whole[..., 256:384]).abs().max().item())
    assert errors[0] < 1e-5
    assert errors[1] > 1e-4


def test_the_halo_is_a_multiple_of_the_alignment(network: PivotNetwork) -> None:
    """So that a tile's origin, a core's origin less the halo, keeps patches and JPEG blocks in their places."""
    assert network.halo % network.alignment == 0
    assert network.alignment % network.stride == 0
    assert network.alignment % 8 == 0


def test_the_receptive_field_fits_in_the_halo() -> None:
    """Exact gradients (float64) of one pixel's logit vanish beyond the halo, and reach most of it.

    The streams compute in float32, and reach no farther than three cells (their own tests).
    """
    network = make_network(streams=False).double()
    images = torch.rand(1, 3, 8, 512, dtype=torch.float64, requires_grad=True)
    network.error_levels = None  # their rounding has no gradient; a block reaches less far than the convolutions do
    encoder = network.encoder
    features = encoder(
        torch.cat([images - 0.45, network.residual(images)], 1),  # type: ignore[misc]
        torch.rand(1, 32, 1, 64, dtype=torch.float64),
    )
    statistics = network.context_statistics(features.deep).detach()
    logits = network.decode(features, statistics.double(), size=(8, 512)).logits
    (gradient,) = torch.autograd.grad(logits[..., 256].sum(), images)
    distances = (gradient.abs().sum((0, 1, 2)).nonzero() - 256).abs()
    assert network.halo / 2 < distances.max() <= network.halo


@torch.inference_mode()
def test_reduced_precision_returns_float32(network: PivotNetwork) -> None:
    """Under autocast logits and embeddings, which losses and score maps use, are float32 and near the exact ones."""
    images = torch.rand(1, 3, 32, 32)
    exact = network(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(images)
    assert output.logits.dtype == output.embeddings_plus.dtype == output.embeddings_minus.dtype == torch.float32
    torch.testing.assert_close(output.logits.sigmoid(), exact.logits.sigmoid(), atol=0.1, rtol=0)


@torch.inference_mode()
def test_residuals_are_exact_in_reduced_precision(network: PivotNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise residuals, small differences of pixels, are not computed in bf16, whose 8 bits would drown them."""
    seen: list[torch.Tensor] = []
    encoder = cast("Encoder", network.encoder)
    fine, deep = encoder.fine, encoder.deep

    def record_images(images: torch.Tensor) -> object:
        seen.append(images[:, 3:].float())
        return fine(images)

    def record_blocks(halved: torch.Tensor, blocks: torch.Tensor, run: Runner) -> object:
        seen.append(blocks.float())
        return deep(halved, blocks, run)

    monkeypatch.setattr(encoder, "fine", record_images)
    monkeypatch.setattr(encoder, "deep", record_blocks)
    assert network.residual is not None
    assert network.error_levels is not None
    images = 0.6 + 0.02 * torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(images)
    torch.testing.assert_close(seen, [network.residual(images), network.error_levels(images)], atol=1e-3, rtol=0)


@torch.inference_mode()
def test_the_streams_are_exact_in_reduced_precision() -> None:
    """So are the traces of the colour filter array and the coefficients; they follow the encoder's own channels."""
    network = make_network()
    assert network.mosaic is not None
    assert network.quantization is not None
    images = 0.6 + 0.02 * torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        deep = network.encode(images).deep
    expected = network.mosaic(images)
    assert expected.std() > 0.02
    magnitudes = network.quantization.traces(images)  # type: ignore[operator]
    assert magnitudes.std() > 0.1
    torch.testing.assert_close(deep[:, -20:].float(), magnitudes, atol=0, rtol=2**-8)
    torch.testing.assert_close(deep[:, -52:-20].float(), expected, atol=0, rtol=2**-8)


@torch.inference_mode()
def test_larger_cells_see_the_mean_of_their_blocks() -> None:
    """At stride 16 the stream's values are averaged over each cell's four blocks."""
    network = build_network(ModelConfig(encoder="resnet50", mosaic=True)).eval()
    assert network.mosaic is not None
    images = torch.rand(1, 3, 32, 48)
    expected = network.mosaic(images).unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    torch.testing.assert_close(network.encode(images).deep[:, -32:], expected)
    assert network(images).logits.shape == (1, 1, 32, 48)


def _turned(images: torch.Tensor, *, vertical: bool) -> torch.Tensor:
    return images.transpose(2, 3) if vertical else images


@torch.inference_mode()
def test_compiles_for_images_of_any_size() -> None:
    """The compiler takes sides of unknown length, and gives the plain network's scores at a size like no multiple."""
    network = make_network(streams=False)
    image = torch.rand(1, 3, 65, 100)
    expected = network(image).score_logits
    actual = torch.compile(network, backend="aot_eager", dynamic=True)(image).score_logits
    torch.testing.assert_close(actual, expected)
