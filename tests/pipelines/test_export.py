"""The exported file computes what `Localizer` computes, at every size, and says what it holds."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import nclforensics
from nclforensics.config import ModelConfig, RunConfig
from nclforensics.errors import OutputError, UsageError, VerificationError
from nclforensics.networks.build import build_network
from nclforensics.networks.weights import load_model, save_model
from nclforensics.pipelines import export
from nclforensics.pipelines.export import SCORE_TOLERANCE, export_onnx, onnx_bytes
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.outputs import digest_of
from tests.factories import make_image
from tests.tiny_model import make_calibration, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.networks.weights import LoadedModel

onnx: Any = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

SIZES = [(64, 64), (1, 1), (5, 300), (65, 64), (129, 200), (256, 248), (701, 533)]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny lite model."""
    return load_model(write_model(tmp_path_factory.mktemp("lite") / "tiny"))


@pytest.fixture(scope="module")
def lite_file(lite: LoadedModel) -> bytes:
    """Return it as ONNX."""
    return onnx_bytes(lite)


def _differences(model: LoadedModel, content: bytes, sizes: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Return the largest difference of a score between onnxruntime and `Localizer` for an image of each size.

    The cut to whole blocks is not in the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    network = copy.copy(model.network)
    network.block_grid = False
    localizer = Localizer(network, device=torch.device("cpu"))
    differences = {}
    for size in sizes:
        image = _textured(*size)
        (scores,) = session.run(["scores"], {"image": image[None]})
        assert (scores.shape, scores.dtype) == (size, np.float32)
        differences[size] = float(np.abs(scores - localizer.localize(image)).max())
    return differences


def _textured(height: int, width: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).normal(0, 12, (height, width, 3))
    return np.asarray((make_image(height, width, seed=6) + noise).clip(0, 255), dtype=np.uint8)


def test_lite_agrees_at_every_size(lite: LoadedModel, lite_file: bytes) -> None:
    """One file serves all sizes: whole patches, ragged edges, one pixel."""
    differences = _differences(lite, lite_file, SIZES)
    assert max(differences.values()) < SCORE_TOLERANCE, differences


def test_agreement_is_no_accident(lite: LoadedModel, lite_file: bytes) -> None:
    """The test above can fail: scores vary by far more than the tolerance, and other weights give others."""
    scores = Localizer(lite.network, device=torch.device("cpu")).localize(_textured(129, 200))
    assert scores.std() > 20 * SCORE_TOLERANCE
    with torch.no_grad():
        other = dataclasses.replace(lite, network=build_network(lite.config).eval())
    assert _differences(other, lite_file, [(64, 64)])[64, 64] > SCORE_TOLERANCE


def test_resnet_agrees(tmp_path: Path) -> None:
    """So does the other family of encoders, with Bayar's filters, larger patches, both streams and the image head."""
    shape = ModelConfig(encoder="resnet50", residual="bayar", branch_channels=4, embedding_dim=4, decoder_channels=4)
    shape = dataclasses.replace(shape, image_head=True, mosaic=True, quantization=True)
    calibration = make_calibration()
    save_model(tmp_path, build_network(shape), RunConfig(model=shape), name="r50", calibration=calibration, training={})
    model = load_model(tmp_path)
    differences = _differences(model, onnx_bytes(model), [(64, 64), (33, 50), (112, 97)])
    assert max(differences.values()) < SCORE_TOLERANCE, differences


def test_the_file_says_what_it_holds(lite: LoadedModel, lite_file: bytes) -> None:
    """Weights, threshold and calibration are in its metadata; inputs and outputs have names and sizes to read."""
    proto = onnx.load_from_string(lite_file)
    onnx.checker.check_model(proto, full_check=True)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["model"] == "tiny"
    assert metadata["weights_sha256"] == lite.sha256
    assert float(metadata["threshold"]) == lite.threshold
    assert json.loads(metadata["calibration"])["thresholds"] == list(lite.calibration.thresholds)
    assert metadata["nclforensics_version"] == nclforensics.__version__
    assert [_shape(value) for value in (*proto.graph.input, *proto.graph.output)] == [
        ("image", [1, "height", "width", 3]),
        ("scores", ["height", "width"]),
    ]


def _shape(value: Any) -> tuple[str, list[int | str]]:  # noqa: ANN401 - onnx ships no types
    return value.name, [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


def test_the_file_names_no_path_of_this_machine(lite_file: bytes) -> None:
    """The exporter notes the line of Python behind each node: neither clean nor the same on two machines."""
    assert b".py" not in lite_file
    assert b"stack_trace" not in lite_file


def test_the_file_is_checked_and_written(
    lite: LoadedModel, lite_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk has the digest and the difference that are reported; an older file is replaced."""
    monkeypatch.setattr(export, "onnx_bytes", lambda _: lite_file)
    out = tmp_path / "new" / "m.onnx"
    exported = export_onnx(lite, out)
    assert exported == export_onnx(lite, out)
    assert (exported.sha256, exported.size_bytes) == (digest_of(out.read_bytes()), len(lite_file))
    assert 0 < exported.difference < SCORE_TOLERANCE
    assert [path.name for path in out.parent.iterdir()] == ["m.onnx"]


def test_a_file_with_other_scores_is_not_written(
    lite: LoadedModel, lite_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN counts as other."""
    monkeypatch.setattr(export, "onnx_bytes", lambda _: lite_file)
    for wrong in (0.5, np.nan):
        monkeypatch.setattr(export, "_scores", lambda _, image, wrong=wrong: np.full(image.shape[:2], wrong))
        with pytest.raises(VerificationError, match="Nothing was written"):
            export_onnx(lite, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(lite: LoadedModel, tmp_path: Path) -> None:
    """Said before anything is computed."""
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        export_onnx(lite, tmp_path / "m.onnx")


def test_a_photo_is_not_replaced(lite: LoadedModel, tmp_path: Path) -> None:
    """Only files that are named like an export are written."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"evidence")
    with pytest.raises(OutputError, match=r'ends in "\.onnx"'):
        export_onnx(lite, photo)
    assert photo.read_bytes() == b"evidence"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(
    package: str, lite: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"{package}.*pip install 'nclforensics\[onnx\]'"):
        export_onnx(lite, tmp_path / "m.onnx")
