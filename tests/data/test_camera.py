"""The simulated camera leaves a mosaic's lattice and noise that grows with the light, the same at every call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nclforensics.data.camera import METHODS, apply_camera, draw_camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.data.histories import Image

GREY: Image = np.full((64, 64, 3), 120, np.uint8)


def camera(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any entry of a step
    """Return a plain camera: noise of two grey levels, bilinear demosaicing, no processing."""
    step = {"op": "camera", "shot": 0.0, "read": 2.0, "method": "bilinear", "phase": [0, 0]}
    return {**step, "denoise": 0.0, "sharpen": 0.0, "seed": 5, **changed}


def green_noise(image: Image) -> NDArray[np.float64]:
    """Return the standard deviation of green at the four places of a 2 x 2 mosaic cell."""
    return np.array([[image[y::2, x::2, 1].std() for x in range(2)] for y in range(2)])


@pytest.mark.parametrize("size", [(64, 64), (63, 50), (8, 9)], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_camera_keeps_size_and_input(method: str, size: tuple[int, int]) -> None:
    """Any size works, the input is left as it was, and equal steps give equal bytes."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    before = image.copy()
    first = apply_camera(image, camera(method=method))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(image, before)
    assert np.array_equal(first, apply_camera(image, camera(method=method)))
    assert not np.array_equal(first, apply_camera(image, camera(method=method, seed=6)))


def test_interpolated_green_is_quieter_than_measured_green() -> None:
    """A bilinear mean of four neighbours has half the noise: the lattice that shows a second camera."""
    noise = green_noise(apply_camera(GREY, camera()))
    assert noise[0, 1] / noise[0, 0] == pytest.approx(2, rel=0.25)
    assert noise[1, 0] / noise[1, 1] == pytest.approx(2, rel=0.25)


def test_the_phase_moves_the_lattice() -> None:
    """Another phase swaps measured and interpolated places."""
    noise = green_noise(apply_camera(GREY, camera(phase=[1, 0])))
    assert noise[0, 0] / noise[0, 1] == pytest.approx(2, rel=0.25)


def test_a_sensor_of_all_colours_has_no_lattice() -> None:
    """Method "none" leaves noise alike at every place."""
    noise = green_noise(apply_camera(GREY, camera(method="none")))
    assert noise.max() / noise.min() < 1.15
    assert noise.mean() == pytest.approx(2, rel=0.1)


def test_shot_noise_grows_with_the_light() -> None:
    """A bright field is noisier than a dark one; read noise alone is the same in both."""
    dark, bright = np.full_like(GREY, 30), np.full_like(GREY, 200)
    step = camera(method="none", shot=4.0, read=0.0)
    assert apply_camera(bright, step).std() > 1.15 * apply_camera(dark, step).std()
    step = camera(method="none", read=3.0)
    assert apply_camera(bright, step).std() == pytest.approx(apply_camera(dark, step).std(), rel=0.05)


def test_a_picture_without_noise_keeps_its_colours() -> None:
    """Mosaic and interpolation do not shift a flat colour, whatever the phase."""
    colour = np.broadcast_to(np.array([200, 90, 30], np.uint8), (32, 32, 3)).copy()
    for method in METHODS:
        for phase in ([0, 0], [0, 1], [1, 0], [1, 1]):
            assert np.array_equal(apply_camera(colour, camera(method=method, phase=phase, read=0.0)), colour)


def test_drawn_cameras_are_plain_json() -> None:
    """A drawn camera survives being written down, and all methods are drawn."""
    rng = np.random.default_rng(1)
    steps = [draw_camera(rng) for _ in range(60)]
    assert json.loads(json.dumps(steps)) == steps
    assert {step["method"] for step in steps} == set(METHODS)
