"""`nclf eval`: measure a model on images with ground truth, with the protocol beside every figure."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from nclforensics.cli.console import print_note, print_result
from nclforensics.cli.options import DeviceOption, Precision, PrecisionOption, QuietOption, TileOption, WeightsOption
from nclforensics.config import EvalConfig
from nclforensics.errors import EXIT_SOME_SKIPPED, OutputError, UsageError

if TYPE_CHECKING:
    from nclforensics.data.manifest import ImagePair
    from nclforensics.reports.document import EvaluationReport

EXAMPLES = "Example: nclf eval my_set/ --csv rows.csv (my_set/manifest.csv has the columns image,mask,authentic)"
_NARROWEST, _PIPE_WIDTH = 80, 110


def evaluate(
    path: Annotated[
        str | None,
        typer.Argument(
            help="Folder with a manifest.csv, such a CSV, a ManiDataset folder (Tp/, Gt/) or a JsonDataset file.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    *,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", help="A benchmark's name, or a path as above.", metavar="NAME|PATH")
    ] = None,
    weights: WeightsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report to stdout as JSON, not as text.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write one row an image to this file.", metavar="FILE")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.FP32,
    tile: TileOption = 2048,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on images with ground truth: figures, intervals, chance levels and the protocol.

    The headline f1@fpr5 uses one threshold, set on authentic images so that 5 % of them show any region.
    """
    from nclforensics.data.manifest import read_dataset  # noqa: PLC0415 - keeps `nclf --help` quick

    spec = _one_of(path, benchmark)
    pairs = read_dataset(spec)
    if csv is not None:
        _check_target(csv)
    config = EvalConfig(tile=tile, device=device, precision=precision.value)
    report = _measure(pairs, config, spec=spec, weights=weights, quiet=quiet)
    _show(report, as_json=as_json, csv=csv)
    if report.skipped:
        print_note(f"{len(report.skipped)} of {report.counts.listed} images were skipped.", quiet=quiet)
        raise typer.Exit(EXIT_SOME_SKIPPED)


def _one_of(path: str | None, benchmark: str | None) -> str:
    given = [spec for spec in (path, benchmark) if spec]
    if len(given) != 1:
        raise UsageError("Expected one data set, as PATH or as --benchmark. See nclf eval --help.")
    return given[0]


def _measure(
    pairs: list[ImagePair], config: EvalConfig, *, spec: str, weights: str | None, quiet: bool
) -> EvaluationReport:
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.device import select_device  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.evaluate import facts_of, run_evaluation  # noqa: PLC0415 - torch, as above
    from nclforensics.pipelines.inference import Localizer  # noqa: PLC0415 - torch loads only when needed

    target = select_device(config.device)
    model = load_model(weights)
    localizer = Localizer(model.network, device=target, tile=config.tile, precision=config.precision)
    hidden = True if quiet else None  # None: tqdm asks whether stderr is a terminal
    with tqdm(total=2 * len(pairs), unit="step", file=sys.stderr, disable=hidden, dynamic_ncols=True) as bar:
        return run_evaluation(pairs, localizer, config, model=facts_of(model), dataset=spec, progress=bar.update)


def _show(report: EvaluationReport, *, as_json: bool, csv: Path | None) -> None:
    from nclforensics.reports.render_csv import render_csv  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.reports.render_json import render_json  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.reports.render_text import render_text  # noqa: PLC0415 - keeps `nclf --help` quick

    if csv is not None:
        _write(csv, render_csv(report))
    if as_json:
        print_result(render_json(report).rstrip("\n"))
    else:
        width = max(_NARROWEST, shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns)
        print_result(render_text(report, width=width).rstrip("\n"))


def _check_target(path: Path) -> None:
    """Find out now, not after the measuring, whether the file can be written."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputError(f"Cannot write {path}: expected a file in an existing, writable folder.")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
