"""The residual filters measure what they say: noise, prediction errors, and the traces of earlier compressions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nclforensics.errors import ShapeError
from nclforensics.networks.residual import (
    JPEG_CHROMINANCE,
    JPEG_LUMINANCE,
    SRM_FILTERS,
    BayarConv2d,
    ErrorLevels,
    SRMResidual,
    _dct_matrix,
    _quantization,
)
from tests.reference import error_levels as reference

FLAT = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 16, 24)


@pytest.mark.parametrize("index", range(3), ids=["edge", "square", "line"])
def test_srm_kernels_sum_to_zero(index: int) -> None:
    """Each is a high-pass filter, whose largest weight is minus one after the division, at the centre."""
    divisor, rows = SRM_FILTERS[index]
    assert sum(map(sum, rows)) == 0
    assert rows[2][2] / divisor == min(map(min, rows)) / divisor == -1.0


@pytest.mark.parametrize("layer", [SRMResidual(), BayarConv2d()], ids=["srm", "bayar"])
def test_a_flat_image_has_no_residual(layer: SRMResidual | BayarConv2d) -> None:
    """Brightness and colour leave no trace, at the borders neither."""
    residual = layer(FLAT)
    torch.testing.assert_close(residual, torch.zeros(1, layer.out_channels, 16, 24), atol=1e-5, rtol=0)


def test_srm_residuals_equal_a_loop() -> None:
    """Output channel 3 * colour + filter is that filter's correlation with that colour, clipped and scaled."""
    image = 0.5 + 0.1 * torch.rand(1, 3, 7, 9)
    padded = np.pad(image[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    expected = np.empty((9, 7, 9), dtype=np.float32)
    for colour in range(3):
        for index, (divisor, rows) in enumerate(SRM_FILTERS):
            for y in range(7):
                for x in range(9):
                    value = (padded[colour, y : y + 5, x : x + 5] * np.array(rows)).sum() / divisor
                    expected[3 * colour + index, y, x] = min(max(value, -0.15), 0.15) * 6
    torch.testing.assert_close(SRMResidual()(image)[0], torch.from_numpy(expected), atol=1e-5, rtol=1e-4)


def test_srm_clips_strong_edges() -> None:
    """An edge from black to white counts no more than 0.15 * 6."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1
    assert SRMResidual()(image).abs().max().item() == pytest.approx(0.9)


def test_srm_filters_are_not_learned() -> None:
    """They are neither parameters nor stored with the weights."""
    assert not list(SRMResidual().parameters())
    assert not SRMResidual().state_dict()


@pytest.mark.parametrize("spread", [0.1, 10.0], ids=["near the start", "far trained"])
def test_bayar_kernels_satisfy_the_constraint(spread: float) -> None:
    """Whatever training does to the weights: the centre is -1 and the other taps sum to 1."""
    layer = BayarConv2d()
    torch.nn.init.normal_(layer.weight, mean=1.0, std=spread)
    kernel = layer.double().constrained_kernel()
    assert kernel.shape == (9, 3, 5, 5)
    assert (kernel[..., 2, 2] == -1).all()
    torch.testing.assert_close(kernel.sum((2, 3)), torch.zeros(9, 3, dtype=torch.float64))


@pytest.mark.parametrize("total", [1e-5, -1e-5, 0.0])
def test_bayar_taps_stay_finite_when_their_sum_vanishes(total: float) -> None:
    """A sum near zero is replaced by the smallest one of its sign."""
    layer = BayarConv2d(1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[..., 0], layer.weight[..., 1] = 0.5, total - 0.5
    taps = layer.constrained_kernel()[0, 0].flatten()
    assert taps[0].item() == pytest.approx(-500 if total < 0 else 500)


def test_bayar_gradients_reach_the_weights() -> None:
    """The filters are learned."""
    layer = BayarConv2d()
    layer(torch.rand(1, 3, 8, 8)).square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_dct_matrix_is_orthonormal() -> None:
    """An error of coefficients has the same energy as the error of pixels."""
    matrix = _dct_matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("quality", [1, 10, 25, 49, 50, 51, *ErrorLevels.qualities, 99, 100])
def test_quantization_tables_are_those_of_real_files(quality: int) -> None:
    """The steps equal the DQT segments that libjpeg writes at the quality."""
    luminance, chrominance = reference.written_tables(quality)
    np.testing.assert_array_equal(_quantization(JPEG_LUMINANCE, quality).view(8, 8).numpy(), luminance)
    np.testing.assert_array_equal(_quantization(JPEG_CHROMINANCE, quality).view(8, 8).numpy(), chrominance)


def test_error_levels_equal_the_loop() -> None:
    """Every channel is that of SciPy's DCT, with the tables of real files, block by block."""
    image = np.random.default_rng(0).random((3, 16, 24))
    expected = reference.error_levels(
        image, qualities=ErrorLevels.qualities, chroma_qualities=ErrorLevels.chroma_qualities
    )
    actual = ErrorLevels()(torch.from_numpy(image).float()[None])[0]
    assert actual.shape == (ErrorLevels.out_channels, 2, 3)
    np.testing.assert_allclose(actual.numpy(), expected, atol=2e-2)


@pytest.mark.parametrize("index", range(len(ErrorLevels.qualities)), ids=map(str, ErrorLevels.qualities))
def test_a_saved_block_gives_away_its_quality(index: int) -> None:
    """Blocks saved at quality q have next to no error at q, and more at others but the finest, which keeps all."""
    strip = reference.saved_once(index, quality=ErrorLevels.qualities[index], blocks=6)
    levels = ErrorLevels()(torch.from_numpy(strip).float()[None])[0]
    count = len(ErrorLevels.qualities)
    errors = levels[2 : 2 + 2 * count].unflatten(0, (count, 2)).sum(1).mean((1, 2))
    others = torch.cat([errors[:index], errors[index + 1 : -1]])
    assert errors[index] < 1e-3
    assert others.min() > 0.05


def test_error_levels_move_with_the_blocks() -> None:
    """A shift by whole blocks shifts the features."""
    images = torch.rand(2, 3, 24, 32)
    layer = ErrorLevels()
    shifted = layer(images.roll((8, 16), dims=(2, 3)))
    torch.testing.assert_close(shifted, layer(images).roll((1, 2), dims=(2, 3)))


def test_brightness_is_no_history() -> None:
    """Luminance features ignore the mean of a block."""
    layer, images = ErrorLevels(), 0.3 + 0.2 * torch.rand(1, 3, 8, 8)
    luminance = slice(0, 2 + 2 * len(layer.qualities))
    actual = layer(images + 0.25)[:, luminance]
    torch.testing.assert_close(actual, layer(images)[:, luminance], atol=2e-2, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (1, 1)])
def test_error_levels_want_whole_blocks(size: tuple[int, int]) -> None:
    """A size that cuts a block is an error that names it."""
    with pytest.raises(ShapeError, match=f"multiples of 8, got {size[0]} x {size[1]}"):
        ErrorLevels()(torch.zeros(1, 3, *size))
