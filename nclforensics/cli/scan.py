"""`nclf scan`: masks for photos."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from nclforensics.cli.console import print_note, print_result, progress
from nclforensics.cli.options import (
    DeviceOption,
    Precision,
    PrecisionOption,
    QuietOption,
    TileOption,
    WeightsOption,
)
from nclforensics.cli.path_lists import read_path_list
from nclforensics.cli.report import ReportsOption, tell_older_reports, write_reports
from nclforensics.cli.scan_options import (
    CaseOption,
    Engine,
    EngineOption,
    FailOn,
    FailOnOption,
    From0Option,
    JsonOption,
    MinRegionOption,
    OperatorOption,
    OutOption,
    OverlayOption,
    PathsArgument,
    RateOption,
    RayAddressOption,
    RayWorkersOption,
    ReplaceOption,
    ResumeOption,
    ScoreMapOption,
    ThresholdOption,
    VerboseOption,
)
from nclforensics.cli.scan_summary import RESULTS_NAME, ScanSummary, outcome_line, print_summary
from nclforensics.cli.stop_request import StopRequest
from nclforensics.config import ScanConfig
from nclforensics.errors import EXIT_FAIL_ON_MET, EXIT_SOME_SKIPPED, NoReadableImageError, UsageError

if TYPE_CHECKING:
    from nclforensics.pipelines.ray_cluster import RaySettings
    from nclforensics.pipelines.scan_plan import ScanPlan
    from nclforensics.results import Outcome

EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf scan photos/ --out masks/\n\n"
    "nclf scan a.jpg b.tif --out masks/ --overlay --score-map --case 2026-117 --operator 'A. Examiner'\n\n"
    "nclf scan photos/ --out masks/ --resume\n\n"
    "find . -name '*.jpg' -print0 | nclf scan --from0 - --out /tmp/masks --json | jq .decision\n\n"
    "nclf scan s3://bucket/photos --out masks/ --engine ray --ray-address head:6379\n\n"
    "nclf scan upload.jpg --out /tmp/masks --quiet --fail-on evidence || echo 'have a look'"
)
STDIN: Final = "-"
STOPPING: Final = {
    Engine.LOCAL: "Stopping after this image; once more stops at once. --resume finishes the scan.",
    Engine.RAY: "Stopping when the workers have finished the images that they have; once more stops at once. "
    "--resume finishes the scan.",
}


def scan(
    context: typer.Context,
    paths: PathsArgument = None,
    *,
    out: OutOption,
    from0: From0Option = None,
    overlay: OverlayOption = False,
    score_map: ScoreMapOption = False,
    weights: WeightsOption = None,
    threshold: ThresholdOption = None,
    fpr: RateOption = None,
    min_region: MinRegionOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.FP32,
    tile: TileOption = 6400,
    case: CaseOption = None,
    operator: OperatorOption = None,
    resume: ResumeOption = False,
    force: ReplaceOption = False,
    json: JsonOption = False,
    fail_on: FailOnOption = None,
    report: ReportsOption = None,
    engine: EngineOption = Engine.LOCAL,
    ray_address: RayAddressOption = None,
    ray_workers: RayWorkersOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a mask for each photo: which regions have an elevated tampering score.

    Photos are only read, and hashed before and after. DIR gets a mask for each, results.jsonl with one record an image,
    run.json with everything that repeats the scan, and timings.jsonl.
    """
    _refuse_both("--threshold", threshold is not None, "--fpr", fpr is not None)
    _refuse_both("--quiet", quiet, "--verbose", verbose)
    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.run_document import Custody  # noqa: PLC0415
    from nclforensics.pipelines.scan import scan_images  # noqa: PLC0415

    ray = _ray_settings(engine, ray_address, ray_workers)
    plan = _plan(paths or [], from0, out=out, force=force, resume=resume)
    model = load_model(weights)
    config = ScanConfig(
        threshold=model.calibration.threshold_at(fpr) if fpr is not None else threshold,
        min_region=model.min_region if min_region is None else min_region,
        tile=tile,
        device=device,
        precision=precision.value,
        overlay=overlay,
        score_map=score_map,
    )
    if force and not resume:
        tell_older_reports(out, report or [], quiet=quiet)
    _say_if_slow(device, precision, engine, quiet=quiet)
    custody = Custody(command=tuple(context.obj or ()), case=case, operator=operator, weights=weights)
    summary, stop = ScanSummary(), StopRequest(STOPPING[engine])
    with stop, closing(scan_images(plan, model, config, custody=custody, should_stop=stop, ray=ray)) as outcomes:
        for outcome in progress(outcomes, total=len(plan.images), unit="image", quiet=quiet or verbose):
            summary.add(outcome)
            _print_outcome(outcome, verbose=verbose, json=json)
    print_summary(summary, model, config, out=out, quiet=quiet)
    write_reports(out, report or [], quiet=quiet)
    _end(summary, fail_on)


def _print_outcome(outcome: Outcome, *, verbose: bool, json: bool) -> None:
    from nclforensics.pipelines.records import record_line  # noqa: PLC0415 - keeps `nclf --help` quick

    if verbose:
        print_note(outcome_line(outcome))
    if json:
        print_result(record_line(outcome))


def _say_if_slow(device: str, precision: Precision, engine: Engine, *, quiet: bool) -> None:
    if engine is not Engine.LOCAL:  # other machines compute
        return
    from nclforensics.pipelines.device import bf16_note, select_device  # noqa: PLC0415 - torch loads only when needed

    if (slow := bf16_note(select_device(device), precision.value)) is not None:
        print_note(slow, quiet=quiet)


def _refuse_both(name: str, given: bool, other: str, other_given: bool) -> None:  # noqa: FBT001 - two pairs
    if given and other_given:
        raise UsageError(f"Expected {name} or {other}, got both. Leave one out.")


def _ray_settings(engine: Engine, address: str | None, workers: int | None) -> RaySettings | None:
    """Return where to scan on Ray, None to scan on this machine."""
    if engine is Engine.LOCAL:
        for name, value in (("--ray-address", address), ("--ray-workers", workers)):
            if value is not None:
                raise UsageError(f"Expected --engine ray with {name}, got --engine local. Leave one out.")
        return None
    from nclforensics.pipelines.ray_cluster import RaySettings  # noqa: PLC0415 - torch loads only when needed

    return RaySettings(address=address, workers=workers)


def _plan(paths: list[str], from0: Path | None, *, out: Path, force: bool, resume: bool) -> ScanPlan:
    """Return the plan for the arguments and the lists of paths that they name."""
    from nclforensics.pipelines.remote_inputs import input_path  # noqa: PLC0415 - loads OpenCV
    from nclforensics.pipelines.scan_plan import plan_scan  # noqa: PLC0415

    if not paths and from0 is None:
        raise UsageError("Expected photos or folders to scan, or a list of them with --from0, got neither.")
    if paths.count(STDIN) + (from0 == Path(STDIN)) > 1:
        raise UsageError('Expected one list on stdin, got "-" more than once. Leave one out.')
    inputs: list[Path] = []
    listed: list[Path] = []
    for path in paths:
        lines = read_path_list(Path(STDIN), separator=b"\n") if path == STDIN else []
        inputs += lines if path == STDIN else [input_path(path)]
        listed += lines
    if from0 is not None:
        lines = read_path_list(from0, separator=b"\0")
        inputs += lines
        listed += lines
    return plan_scan(inputs, out=out, force=force, resume=resume, listed=listed)


def _end(summary: ScanSummary, fail_on: FailOn | None) -> None:
    skipped = summary.counts["skipped"]
    if skipped and skipped == summary.counts.total():
        none = "The image could not be scanned; see the reason"
        none = none if skipped == 1 else f"None of the {skipped} images could be scanned; see the reasons"
        raise NoReadableImageError(f"{none} in {RESULTS_NAME}.")
    if fail_on is FailOn.EVIDENCE and summary.counts["localized evidence"]:
        raise typer.Exit(EXIT_FAIL_ON_MET)
    if skipped:
        raise typer.Exit(EXIT_SOME_SKIPPED)
