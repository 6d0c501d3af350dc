"""`nclf eval`: measure a model on images with ground truth, with the protocol beside every figure."""

from __future__ import annotations

import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self, TypeAlias

import typer

from nclforensics.cli.console import print_note, print_result
from nclforensics.cli.options import (
    AllowMissingOption,
    DataRootOption,
    DeviceOption,
    ForceOption,
    Precision,
    PrecisionOption,
    QuietOption,
    TileOption,
    WeightsOption,
)
from nclforensics.config import EvalConfig
from nclforensics.errors import EXIT_SOME_SKIPPED, OutputError, UsageError
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tqdm import tqdm

    from nclforensics.data.loaded_set import LoadedSet
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.reports.document import EvaluationReport

EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf eval my_set/ --out report/   (my_set/manifest.csv has the columns image,mask,authentic)\n\n"
    "nclf eval coverage columbia casiav1 --data-root /data --protocol mvss\n\n"
    "nclf eval my_set/ --robustness --robustness-limit 50 --out report/"
)
_NARROWEST, _PIPE_WIDTH = 80, 110


class ProtocolName(StrEnum):
    """The names of `nclforensics.pipelines.protocols.PROTOCOLS`, which a help text must not import."""

    NATIVE = "native"
    MVSS = "mvss"
    CATNET = "catnet"
    TRUFOR = "trufor"


DatasetsArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        help="Data sets: benchmarks by name, NAME:PATH, or paths (manifest.csv, ManiDataset, JsonDataset, ...).",
        metavar="NAME|PATH",
        show_default=False,
    ),
]
BenchmarkOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--benchmark", help="The same as an argument; may be repeated.", metavar="NAME|PATH"),
]
ProtocolOption: TypeAlias = Annotated[
    ProtocolName,
    typer.Option("--protocol", help="How figures are made; all but native are those of published tables."),
]
RateOption: TypeAlias = Annotated[
    float, typer.Option("--fpr", help="False-positive rate of the headline threshold.", min=0, max=1)
]
MinRegionOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-region",
        help="Region, as a share of the area, beyond which an image counts as flagged. Default: the model's.",
        min=0,
        max=1,
    ),
]
BothPlacesOption: TypeAlias = Annotated[
    bool, typer.Option("--both-places", help="Mark the original of a copy too: for ground truth that marks both.")
]
RobustnessOption: TypeAlias = Annotated[
    bool, typer.Option("--robustness", help="Also measure under JPEG, blur, noise, resizing, gamma and reposting.")
]
RobustnessLimitOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--robustness-limit", help="At most so many images of each kind for --robustness, drawn; 0: all.", min=0
    ),
]
OutOption: TypeAlias = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for report.html, report.json, report.csv.", metavar="DIR")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Write the report to stdout as JSON, not as text.")]
CsvOption: TypeAlias = Annotated[
    Path | None, typer.Option("--csv", help="Also write one row an image to this file.", metavar="FILE")
]


def evaluate(
    context: typer.Context,
    datasets: DatasetsArgument = None,
    *,
    benchmark: BenchmarkOption = None,
    data_root: DataRootOption = None,
    allow_missing: AllowMissingOption = False,
    protocol: ProtocolOption = ProtocolName.NATIVE,
    fpr: RateOption = 0.05,
    min_region: MinRegionOption = None,
    both_places: BothPlacesOption = False,
    robustness: RobustnessOption = False,
    robustness_limit: RobustnessLimitOption = 100,
    weights: WeightsOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    csv: CsvOption = None,
    force: ForceOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.FP32,
    tile: TileOption = 6400,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on images with ground truth: figures, intervals, chance levels and the protocol.

    The headline f1@fpr5 uses one threshold, set on authentic images so that at most 5 % of them show any region.
    """
    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.evaluation_folder import report_folders  # noqa: PLC0415 - torch, as above

    names = [*(datasets or []), *(benchmark or [])]
    if not names:
        raise UsageError("Expected a data set: a benchmark's name or a path. See nclf eval --help.")
    loaded = _load(names, data_root=data_root, allow_missing=allow_missing)
    if csv is not None:
        _check_target(csv, loaded, force=force)
    folders = report_folders(out, loaded, force=force) if out is not None else []
    model = load_model(weights)
    config = EvalConfig(
        min_region=model.min_region if min_region is None else min_region,
        false_positive_rate=fpr,
        tile=tile,
        device=device,
        precision=precision.value,
        protocol=protocol.value,
        both_places=both_places,
        robustness=robustness,
        robustness_limit=robustness_limit,
    )
    reports: list[EvaluationReport] = []
    try:
        reports.extend(_measured(loaded, config, model, folders=folders, command=context.obj or (), quiet=quiet))
    finally:  # a fault that only a later set's pixels show costs nothing of what was measured before
        if csv is not None and reports:
            _write_csv(csv, reports)
        if reports:
            _show(reports, as_json=as_json, several=len(loaded) > 1)
    if out is not None:
        print_note(f"Reports in {printable(str(out))}: report.html, report.json and report.csv.", quiet=quiet)
    _end(reports, quiet=quiet)


def _load(names: Sequence[str], *, data_root: Path | None, allow_missing: bool) -> list[LoadedSet]:
    """Read all data sets before the first one is measured, so that a wrong name costs no hours."""
    from nclforensics.data.sets import load_set  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.pipelines.dataset_check import stop_at_errors  # noqa: PLC0415 - as above

    loaded = [load_set(name, data_root=data_root) for name in names]
    for item in loaded:
        stop_at_errors(item.anomalies, allow_missing=allow_missing)
    return loaded


def _measured(
    loaded: Sequence[LoadedSet],
    config: EvalConfig,
    model: LoadedModel,
    *,
    folders: Sequence[Path],
    command: Sequence[str],
    quiet: bool,
) -> Iterator[EvaluationReport]:
    """Measure set after set; each report is written, and yielded, as soon as it is there."""
    from nclforensics.pipelines.cases import draw_cases  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.device import bf16_note, describe_device, select_device  # noqa: PLC0415 - as above
    from nclforensics.pipelines.evaluate import facts_of, run_evaluation  # noqa: PLC0415 - as above
    from nclforensics.pipelines.evaluation_folder import write_report  # noqa: PLC0415 - as above
    from nclforensics.pipelines.inference import Localizer  # noqa: PLC0415 - as above

    target = select_device(config.device)
    if (slow := bf16_note(target, config.precision)) is not None:
        print_note(slow, quiet=quiet)
    localizer = Localizer(
        model.network,
        device=target,
        tile=config.tile,
        precision=config.precision,
        both_places=config.both_places,
    )
    for number, dataset in enumerate(loaded):
        with _StageBars(dataset.name, quiet=quiet) as stages:
            report = run_evaluation(
                dataset,
                localizer,
                config,
                model=facts_of(model),
                command=command,
                device=describe_device(target),
                stages=stages,
            )
        if folders:
            report, pictures = draw_cases(report, dataset.pairs, localizer, config)
            write_report(report, pictures, folders[number])
        yield report


class _StageBars:
    """A progress bar on stderr for the stage under way; a context manager."""

    def __init__(self, dataset: str, *, quiet: bool) -> None:
        self._name = printable(dataset)
        self._disable = True if quiet else None  # None: tqdm asks whether stderr is a terminal
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, stage: str, steps: int) -> Callable[[], None]:
        """Begin a stage and return what counts its steps."""
        from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

        self._close()
        title = f"{self._name}: {stage}"
        bar = tqdm(total=steps, desc=title, unit="image", file=sys.stderr, disable=self._disable, dynamic_ncols=True)
        self._bar = bar
        return lambda: bar.update() and None

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _show(reports: Sequence[EvaluationReport], *, as_json: bool, several: bool) -> None:
    from nclforensics.reports.render_json import render_json, render_json_list  # noqa: PLC0415 - keeps help quick
    from nclforensics.reports.render_text import render_summary, render_text  # noqa: PLC0415 - keeps help quick

    if as_json:
        text = render_json_list(reports) if several else render_json(reports[0])
        print_result(text.rstrip("\n"))
        return
    width = max(_NARROWEST, shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns)
    parts = [render_text(report, width=width) for report in reports]
    parts += [render_summary(reports, width=width)] if len(reports) > 1 else []
    print_result("\n".join(parts).rstrip("\n"))


def _end(reports: Sequence[EvaluationReport], *, quiet: bool) -> None:
    for report in reports:
        if report.skipped:
            name = f" of {printable(report.protocol.dataset)}" if len(reports) > 1 else ""
            print_note(f"{len(report.skipped)} of {report.counts.listed} images{name} were skipped.", quiet=quiet)
    if any(report.skipped for report in reports):
        raise typer.Exit(EXIT_SOME_SKIPPED)


def _check_target(path: Path, loaded: Sequence[LoadedSet], *, force: bool) -> None:
    """Find out now, not after the measuring, whether the file can be written."""
    from nclforensics.pipelines.evaluation_folder import refuse_data  # noqa: PLC0415 - torch loads only when needed

    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputError(f"Cannot write {path}: expected a file in an existing, writable folder.")
    # What is already in a set's folder may be a list or notes of its owner: no option replaces that.
    refuse_data(path, loaded, inside=force and not path.exists())
    if path.exists() and not force:
        raise OutputError(f"{path} is there already. Choose another name, or replace it with --force.")


def _write_csv(path: Path, reports: Sequence[EvaluationReport]) -> None:
    from nclforensics.pipelines.outputs import write_atomic  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.reports.render_csv import render_csv  # noqa: PLC0415 - keeps `nclf --help` quick

    write_atomic(path, render_csv(*reports).encode())
