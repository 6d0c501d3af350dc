"""The self-test tells equality, tolerance and failure apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.errors import VerificationError
from nclforensics.networks.weights import bundled_models, load_model
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.selftest import DOCUMENT, MASK, PHOTO, SelfTest, make_selftest, run_selftest
from tests.factories import make_image
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny model with a self-test."""
    jpeg = cv2.imencode(".jpg", make_image(80, 96))[1]
    (tmp_path / "photo.jpg").write_bytes(jpeg.tobytes())
    # Few scores of this photo lie near the threshold: a change in the last digits moves hardly any pixel of the mask.
    folder = write_model(tmp_path / "model", threshold=0.15)
    make_selftest(folder, tmp_path / "photo.jpg", source="made in this test")
    return folder


def _disturb(monkeypatch: pytest.MonkeyPatch, amount: float) -> None:
    localize = Localizer.localize_with_copies

    def other_processor(self: Localizer, image: NDArray[np.uint8]) -> Localization:
        localization = localize(self, image)
        return localization._replace(score_map=(localization.score_map + np.float32(amount)).clip(0, 1))

    monkeypatch.setattr(Localizer, "localize_with_copies", other_processor)


def test_the_same_machine_is_identical(folder: Path) -> None:
    """Byte for byte."""
    outcome = run_selftest(folder)
    assert (outcome.identical, outcome.passed) == (True, True)
    assert outcome.score_difference <= 1e-5
    assert outcome.mask_sha256 == outcome.expected_sha256


def test_rounding_of_another_processor_passes_but_is_not_called_identical(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last bits may differ; the outcome tells by how much."""
    _disturb(monkeypatch, 1e-4)
    outcome = run_selftest(folder)
    assert (outcome.identical, outcome.passed) == (False, True)
    assert outcome.score_difference == pytest.approx(1e-4, abs=3e-5)


def test_other_scores_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that no rounding explains."""
    _disturb(monkeypatch, 0.002)
    assert not run_selftest(folder).passed


@pytest.mark.parametrize(
    ("scores", "mask", "passed"),
    [(0.001, 10, True), (0.0011, 0, False), (0.0, 11, False), (float("nan"), 0, False)],
    ids=["both at their tolerance", "scores alone", "mask alone", "no number"],
)
def test_each_tolerance_counts(scores: float, mask: int, *, passed: bool) -> None:
    """One that is kept does not make up for the other: 0.001 of a score, and of the pixels."""
    outcome = SelfTest(
        model="tiny",
        weights_sha256="w",
        mask_sha256="here",
        expected_sha256="there",
        mask_differing=mask,
        pixels=10_000,
        score_map_equal=False,
        score_difference=scores,
        expected_with={},
        here={},
    )
    assert (outcome.identical, outcome.passed) == (False, passed)
    same = replace(outcome, mask_sha256="there", score_map_equal=True)
    assert (same.identical, same.passed) == (True, True)
    assert not replace(outcome, mask_sha256="there").identical
    assert not replace(outcome, score_map_equal=True).identical


@pytest.mark.parametrize("name", [PHOTO, MASK, DOCUMENT])
def test_a_missing_file_fails(folder: Path, name: str) -> None:
    """An incomplete installation proves nothing."""
    (folder / name).unlink()
    with pytest.raises(VerificationError):
        run_selftest(folder)


@pytest.mark.parametrize("name", [PHOTO, MASK])
def test_a_changed_file_fails(folder: Path, name: str) -> None:
    """Expected values of another photo would be no test."""
    with (folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(VerificationError, match="another"):
        run_selftest(folder)


@pytest.mark.parametrize("name", ["photo_sha256", "scores_sha256", "versions", "scores"])
def test_an_incomplete_document_fails(folder: Path, name: str) -> None:
    """It says what is missing."""
    document = json.loads((folder / DOCUMENT).read_text())
    del document[name]
    (folder / DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(VerificationError, match=f'has no "{name}"'):
        run_selftest(folder)


def test_a_self_test_of_other_weights_fails(folder: Path) -> None:
    """A model that was replaced in part is found."""
    write_model(folder, seed=1)
    with pytest.raises(VerificationError, match="another weights"):
        run_selftest(folder)


@pytest.mark.parametrize("model", bundled_models())
def test_every_bundled_model_passes_its_self_test(model: str) -> None:
    """On this machine too, within the tolerance; its files belong to its weights."""
    assert run_selftest(model).passed


@pytest.mark.parametrize("model", bundled_models())
def test_the_bundled_self_test_shows_something(model: str) -> None:
    """Its mask is not empty and its photo's source and licence are named."""
    from nclforensics.data.images import read_samples  # noqa: PLC0415
    from nclforensics.networks.weights import find_model  # noqa: PLC0415

    folder = find_model(model)
    document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    assert 0.01 < (read_samples(folder / MASK) > 0).mean() < 0.5
    assert "CC0" in document["source"]
    assert document["weights_sha256"] == load_model(model).sha256
