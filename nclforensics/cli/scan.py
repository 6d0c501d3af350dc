"""`nclf scan`: masks for photos."""

from __future__ import annotations

import heapq
import os
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nclforensics.cli.console import print_note, print_result, print_table, printable, progress
from nclforensics.cli.options import (
    DeviceOption,
    ForceOption,
    Precision,
    PrecisionOption,
    QuietOption,
    TileOption,
    WeightsOption,
)
from nclforensics.config import ScanConfig
from nclforensics.errors import EXIT_SOME_SKIPPED, NoReadableImageError, UsageError
from nclforensics.results import ScanFinding, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.networks.weights import LoadedModel

EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf scan photos/ --out masks/\n\n"
    "nclf scan a.jpg b.tif --out masks/ --overlay --score-map\n\n"
    "find . -name '*.jpg' | nclf scan - --out /tmp/masks --json | jq .decision"
)
SHOWN: Final = 10  # rows of the summary's lists
RESULTS_NAME: Final = "results.jsonl"


def scan(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help='Photos and folders; "-" reads one path a line from stdin.')],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks and records.", metavar="DIR")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write a picture for reading.")] = False,
    score_map: Annotated[bool, typer.Option("--score-map", help="Also write the scores as 16-bit PNG.")] = False,
    weights: WeightsOption = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Score above which a pixel counts.", min=0, max=1)
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option("--fpr", help="Take the threshold calibrated for this false-positive rate, such as 0.05."),
    ] = None,
    min_region: Annotated[
        float | None,
        typer.Option(
            "--min-region", help="Smallest region, as a share of the area. Default: the model's.", min=0, max=1
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.FP32,
    tile: TileOption = 2048,
    json: Annotated[
        bool, typer.Option("--json", help="Print each image's record to stdout as a line of JSON.")
    ] = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a mask for each photo: which regions have an elevated tampering score."""
    if threshold is not None and fpr is not None:
        raise UsageError("Expected --threshold or --fpr, got both. Leave one out.")
    from nclforensics.networks.weights import load_model  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.records import record_line  # noqa: PLC0415
    from nclforensics.pipelines.scan import describe_threshold, plan_scan, scan_images  # noqa: PLC0415

    plan = plan_scan(list(_with_stdin(paths)), out=out, force=force)
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
    summary = ScanSummary()
    with closing(scan_images(plan, model, config, command=context.obj or ())) as outcomes:
        for outcome in progress(outcomes, total=len(plan.images), unit="image", quiet=quiet):
            summary.add(outcome)
            if json:
                print_result(record_line(outcome))
    if not quiet:
        _print_summary(summary, model, describe_threshold(model, config), out=out)
    _end(summary)


@dataclass
class ScanSummary:
    """What the summary needs of a scan; its size does not grow with the number of images."""

    counts: Counter[str] = field(default_factory=Counter)
    elevated: list[tuple[float, str, str]] = field(default_factory=list)
    skipped: list[SkippedImage] = field(default_factory=list)

    def add(self, outcome: ScanFinding | SkippedImage) -> None:
        """Count one image."""
        if isinstance(outcome, SkippedImage):
            self.counts["skipped"] += 1
            if len(self.skipped) < SHOWN:
                self.skipped.append(outcome)
            return
        self.counts[outcome.decision] += 1
        if outcome.regions:
            detail = f"{len(outcome.regions)} regions, {outcome.tampered_share:.1%} of the area"
            heapq.heappush(self.elevated, (outcome.image_score, outcome.path, detail))
            if len(self.elevated) > SHOWN:
                heapq.heappop(self.elevated)


def _with_stdin(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if str(path) != "-":
            yield path
            continue
        # Bytes: a file name need not be valid in the locale's encoding.
        for line in sys.stdin.buffer.read().splitlines():
            if line:
                yield Path(os.fsdecode(line))


def _print_summary(summary: ScanSummary, model: LoadedModel, threshold: dict[str, Any], *, out: Path) -> None:
    from rich.table import Table  # noqa: PLC0415 - keeps `nclf --help` quick
    from rich.text import Text  # noqa: PLC0415

    counts = Table("outcome", "images", title=f"Scanned into {printable(str(out))}", title_justify="left")
    for outcome, count in sorted(summary.counts.items()):
        counts.add_row(outcome, str(count))
    print_table(counts)
    if summary.elevated:
        table = Table("score", "image", "regions above the threshold", title="Highest scores", title_justify="left")
        for score, path, detail in sorted(summary.elevated, reverse=True):
            table.add_row(f"{score:.3f}", Text(printable(path)), detail)
        print_table(table)
    for skipped in summary.skipped:
        print_note(f"skipped {printable(skipped.path)}: {printable(skipped.reason)}")
    if summary.counts["skipped"] > len(summary.skipped):
        print_note(f"and {summary.counts['skipped'] - len(summary.skipped)} more; {RESULTS_NAME} has all of them.")
    print_note(f"Model {model.name}, weights sha256 {model.sha256[:12]}. {_error_rate(model, threshold)}")


def _error_rate(model: LoadedModel, threshold: dict[str, Any]) -> str:
    """Return the sentence that says how often the threshold is wrong about authentic photos."""
    setting = f"threshold {threshold['value']:.4g}, regions above {threshold['min_region']:.2%} of the area"
    rate = threshold["false_positive_rate"]
    if rate is None:
        return f"At this setting ({setting}) no false-positive rate was measured."
    count = model.calibration.authentic
    return (
        f"At this setting ({setting}) {rate:.1%} of {count} authentic photos showed a region: "
        "a region is a reason to look closer, not a proof, and an empty mask proves nothing either."
    )


def _end(summary: ScanSummary) -> None:
    skipped = summary.counts["skipped"]
    if skipped and skipped == summary.counts.total():
        raise NoReadableImageError(f"None of the {skipped} images could be scanned; see the reasons in {RESULTS_NAME}.")
    if skipped:
        raise typer.Exit(EXIT_SOME_SKIPPED)
