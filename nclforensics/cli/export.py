"""`nclf export`: the model as a file for other runtimes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Final

import typer

from nclforensics.cli.console import print_note, print_result
from nclforensics.cli.options import QuietOption, WeightsOption  # noqa: TC001 - typer reads annotations at run time
from nclforensics.reports.printable import printable

EXAMPLES: Final = (
    "Examples:\n\nnclf export --out ncl-lite.onnx\n\nnclf export --weights runs/mine --format onnx --out mine.onnx"
)


class ExportFormat(StrEnum):
    """What can be written."""

    ONNX = "onnx"


def export(
    *,
    out: Annotated[
        Path,
        typer.Option("--out", help="The file, its name ending in .onnx; an older one is replaced.", metavar="FILE"),
    ],
    weights: WeightsOption = None,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="File format.")] = ExportFormat.ONNX,
    quiet: QuietOption = False,
) -> None:
    """Write a model as one ONNX file: image (1, H, W, 3) uint8 RGB in, scores (H, W) float32 out, any H and W.

    The file is checked in onnxruntime before it is written. It computes an image in one pass, as `nclf scan` does up to
    6400 x 6400 pixels; of larger ones, which a scan cuts into tiles, a lite network gives the same scores but takes
    memory that grows with the image. Weights' sha256, threshold and calibration are in the file's metadata.
    Needs: pip install 'nclforensics[onnx]'.
    """
    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.export import export_onnx  # noqa: PLC0415

    model = load_model(weights)
    exported = export_onnx(model, out)
    print_note(
        f"{model.name} as {export_format.value}, {exported.size_bytes:,} bytes, sha256 {exported.sha256}. Scores in "
        f"onnxruntime differ by at most {exported.difference:.1e} from PyTorch's; threshold {model.threshold:.4f}.",
        quiet=quiet,
    )
    print_result(printable(str(out)))
