"""One model as one ONNX file, for programs that do not run PyTorch.

    image   (1, H, W, 3) uint8, RGB, any H and W
    scores  (H, W) float32 in [0, 1]: what `Localizer.localize` returns for an image that it does not cut into tiles,
            without what is no network: the copy-move matcher, and the cut to whole blocks of the JPEG grid

The graph is the whole image's pass, padding included. It knows no tiles, so its memory grows with the image. The file's
metadata says which weights it holds and which threshold they are calibrated for (`metadata_of`). Equal models and
equal versions of the libraries give equal bytes: names of files and lines of this machine are left out.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

import nclforensics
from nclforensics.config import ScanConfig
from nclforensics.errors import OutputError, UsageError, VerificationError
from nclforensics.networks.fused import fold_batch_norms
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.outputs import is_there, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.networks.pivot import PivotNetwork
    from nclforensics.networks.weights import LoadedModel

INPUT: Final = "image"
OUTPUT: Final = "scores"
SUFFIX: Final = ".onnx"
OPSET: Final = 18  # the oldest that PyTorch's exporter writes: most runtimes read it
# Runtimes add up in another order than PyTorch: 1.5e-7 with ncl-lite-v5 on the image that is checked.
SCORE_TOLERANCE: Final = 1e-4
# Images of more pixels are cut by `nclf scan` with its default tile.
LARGEST_WHOLE: Final = ScanConfig().tile ** 2
# Sides of the image that the graph is traced with, and of the one that it is checked with: no multiples of a patch.
TRACED_SIZE: Final = (83, 117)
CHECKED_SIZE: Final = (141, 203)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        sha256: Digest of the file.
        size_bytes: Its size.
        difference: Largest difference of a score from PyTorch's, on the image that the file was checked with.
    """

    sha256: str
    size_bytes: int
    difference: float


class WholeImage(nn.Module):
    """The network from an image's bytes to its scores."""

    def __init__(self, network: PivotNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (H, W), float32, of an image (1, H, W, 3), uint8."""
        scores: Tensor = self.network(image.permute(0, 3, 1, 2).float() / 255).score_logits[0, 0].sigmoid()
        return scores


def export_onnx(model: LoadedModel, out: Path) -> Exported:
    """Write a model as an ONNX file, after onnxruntime has computed the scores of an image with it.

    Args:
        model: What to export.
        out: The file; an earlier export in its place is replaced.

    Raises:
        OutputError: If the name does not end in ".onnx", is a folder's, or cannot be written.
        UsageError: If the extra `onnx` is not installed.
        VerificationError: If onnxruntime's scores are not PyTorch's; nothing is written then.
    """
    _check_name(out)
    content = onnx_bytes(model)
    difference = _difference(model, content)
    if not difference <= SCORE_TOLERANCE:
        raise VerificationError(
            f"Expected the exported model to give PyTorch's scores within {SCORE_TOLERANCE:g} in onnxruntime, they "
            f"differ by {difference:.2g}. Nothing was written; try other versions of onnx and onnxruntime."
        )
    return Exported(write_atomic(out, content), len(content), difference)


def onnx_bytes(model: LoadedModel) -> bytes:
    """Return the content of the ONNX file of a model.

    Raises:
        UsageError: If the extra `onnx` is not installed.
    """
    _require_extra()
    module = WholeImage(fold_batch_norms(model.network)).eval()
    height, width = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            module,
            (torch.zeros(1, *TRACED_SIZE, 3, dtype=torch.uint8),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"image": {1: height, 2: width}},
        )
    assert program is not None
    return _clean(program.model_proto, metadata_of(model))


def metadata_of(model: LoadedModel) -> dict[str, str]:
    """Return what the file says about itself, as ONNX stores it: text by name."""
    return {
        "model": model.name,
        "weights_sha256": model.sha256,
        "threshold": repr(model.threshold),
        "min_region": repr(model.min_region),
        "calibration": json.dumps(dataclasses.asdict(model.calibration), sort_keys=True),
        "copy_matcher": "not included" if model.network.copy_matcher else "not used",
        "block_grid": "not included" if model.network.block_grid else "not used",
        "low_quality_network": "not used" if model.network.low_quality is None else "not included",
        "nclforensics_version": nclforensics.__version__,
        "torch_version": torch.__version__,
        "largest_whole_pixels": str(LARGEST_WHOLE),
    }


def _check_name(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise OutputError(f'Expected a file name that ends in "{SUFFIX}", got {out}.')
    if is_there(out) and out.is_dir():
        raise OutputError(f"Expected --out to be a file, but {out} is a folder. Choose another name.")


def _require_extra() -> None:
    """Say what to install before PyTorch's exporter does so in its own words."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UsageError(
                f"Exporting needs the package {package}, which cannot be imported ({error}). "
                "Install it with: pip install 'nclforensics[onnx]'"
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress off the screen, and its warnings to its own authors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _clean(proto: Any, metadata: dict[str, str]) -> bytes:  # noqa: ANN401 - ONNX is an extra
    """Return a model's bytes without the names of this machine's files that the exporter leaves at each node."""
    graph = proto.graph
    graph.name = metadata["model"]
    del graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, proto):
        del item.metadata_props[:]
        item.doc_string = ""
    _name_sides(graph.input[0].type.tensor_type.shape.dim[1:3])
    _name_sides(graph.output[0].type.tensor_type.shape.dim)
    proto.producer_name, proto.producer_version = "nclforensics", nclforensics.__version__
    proto.doc_string = f"{INPUT} (1, height, width, 3) uint8, RGB -> {OUTPUT} (height, width) float32 in [0, 1]"
    for name, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _name_sides(sides: Any) -> None:  # noqa: ANN401 - ONNX is an extra
    for side, name in zip(sides, ("height", "width"), strict=True):
        side.dim_param = name


def _difference(model: LoadedModel, content: bytes) -> float:
    """Return the largest difference between onnxruntime's scores and PyTorch's, on an image of noise."""
    image = np.random.default_rng(0).integers(0, 256, (*CHECKED_SIZE, 3), np.uint8)
    network = copy.copy(model.network)
    network.copy_matcher = network.block_grid = False  # they are no network, and not in the file
    network.low_quality_limit = 0  # nor is the second one
    expected = Localizer(network, device=torch.device("cpu")).localize(image)
    return float(np.abs(_scores(content, image) - expected).max())


def _scores(content: bytes, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (scores,) = session.run([OUTPUT], {INPUT: image[None]})
    return np.asarray(scores, dtype=np.float32)
