"""The traces of the colour filter array equal a loop over pixels, and tell measured pixels from computed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from nclforensics.errors import ShapeError
from nclforensics.networks.mosaic import FLOOR, MosaicStream, MosaicTraces
from tests.reference import mosaic as reference

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _traces(pixels: NDArray[np.float64]) -> torch.Tensor:
    traces: torch.Tensor = MosaicTraces()(torch.from_numpy(pixels).float()[None])
    return traces[0]


def test_traces_equal_the_loop() -> None:
    """Every channel, at the borders too, is that of the formula pixel by pixel."""
    image = np.random.default_rng(0).random((3, 16, 24))
    actual = _traces(image)
    assert actual.shape == (MosaicTraces.out_channels, 2, 3)
    np.testing.assert_allclose(actual.numpy(), reference.mosaic_traces(image, floor=FLOOR), atol=1e-4)


def test_what_a_camera_computed_is_predicted() -> None:
    """Where green was interpolated the error is that of rounding, where it was measured that of the noise."""
    noise = np.random.default_rng(1).normal(0, 6, (32, 32))
    green = _traces(reference.bilinear_green(noise, measured=0))[4:8]  # places 0 and 3 are measured
    assert (green[[0, 3]].amin(0) > green[[1, 2]].amax(0) + 3).all()


def test_the_mosaics_place_is_in_the_sign_but_not_in_the_strength() -> None:
    """A mosaic shifted by one pixel turns the places round; the last channel, the quincunx's strength, stays."""
    noise = np.random.default_rng(2).normal(0, 6, (32, 32))
    first, second = (_traces(reference.bilinear_green(noise, measured=place)) for place in (0, 1))
    assert (first[4] > 0).all()
    assert (second[4] < 0).all()
    torch.testing.assert_close(first[-1].mean(), second[-1].mean(), rtol=0.2, atol=0)
    assert first[-1].min() > 3


def test_what_was_never_interpolated_has_no_strength() -> None:
    """Noise measured at every pixel errs alike at all places."""
    traces = _traces(0.5 + np.random.default_rng(3).normal(0, 6 / 255, (3, 64, 64)))
    assert traces[-1].mean() < 0.5
    assert traces[:12].abs().mean() < 0.5


def test_flat_and_saturated_places_are_finite_and_even() -> None:
    """No noise means the floor's logarithm and no difference between places, not minus infinity."""
    for level in (0.0, 0.5, 1.0):
        traces = _traces(np.full((3, 16, 16), level))
        torch.testing.assert_close(traces[:12], torch.zeros(12, 2, 2), atol=1e-3, rtol=0)
        torch.testing.assert_close(traces[12:15], torch.full((3, 2, 2), float(np.log(FLOOR))), atol=1e-2, rtol=0)


def test_traces_are_float32_whatever_comes_in() -> None:
    """Differences of neighbours are not computed in fewer bits."""
    assert MosaicTraces()(torch.rand(1, 3, 16, 16).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (1, 1)])
def test_traces_want_whole_cells(size: tuple[int, int]) -> None:
    """A size that cuts a cell is an error that names it."""
    with pytest.raises(ShapeError, match=f"multiples of 8, got {size[0]} x {size[1]}"):
        MosaicTraces()(torch.zeros(1, 3, *size))


@torch.inference_mode()
def test_the_stream_reaches_three_cells_and_a_pixel() -> None:
    """A tile sees what it needs within the halo: a change moves nothing that lies farther than 25 pixels."""
    stream = MosaicStream().eval()
    for module in stream.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.5)
    images = torch.rand(1, 3, 16, 160)
    changed = images.clone()
    changed[..., 80] = torch.rand(1, 3, 16)
    difference = (stream(images) - stream(changed)).abs().amax((0, 1, 2))
    reached = difference.nonzero().flatten()
    assert (reached.min().item(), reached.max().item()) == (6, 13)  # pixel 80: cells 9 (its neighbour's) and 10


def test_no_channel_reaches_the_stream_unscaled() -> None:
    """The stream starts with a norm: log noise levels of -3 and relative strengths of 0.1 weigh alike."""
    assert isinstance(MosaicStream().gather[0], nn.BatchNorm2d)
