"""What `nclf scan` tells on stderr when it is done."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nclforensics.cli.console import print_note, print_table
from nclforensics.reports.printable import printable
from nclforensics.results import ScanFinding, SkippedImage

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.results import Outcome

SHOWN: Final = 10  # rows of the lists
RESULTS_NAME: Final = "results.jsonl"


@dataclass
class ScanSummary:
    """What the summary needs of a scan; its size does not grow with the number of images."""

    counts: Counter[str] = field(default_factory=Counter)
    elevated: list[tuple[float, str, str]] = field(default_factory=list)
    skipped: list[SkippedImage] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one image."""
        if isinstance(outcome, SkippedImage):
            self.counts["skipped"] += 1
            if len(self.skipped) < SHOWN:
                self.skipped.append(outcome)
            return
        self.counts[outcome.decision] += 1
        if outcome.regions:
            heapq.heappush(self.elevated, (outcome.image_score, outcome.path, _extent(outcome)))
            if len(self.elevated) > SHOWN:
                heapq.heappop(self.elevated)


def outcome_line(outcome: Outcome) -> str:
    """Return one line about one image."""
    path = printable(outcome.path)
    if isinstance(outcome, SkippedImage):
        return f"{path}: skipped: {printable(outcome.reason)}"
    extent = f", {_extent(outcome)}" if outcome.regions else ""
    reason = "" if outcome.reason is None else f": {outcome.reason}"
    return f"{path}: {outcome.decision}{reason} (score {outcome.image_score:.3f}{extent})"


def print_summary(summary: ScanSummary, model: LoadedModel, config: ScanConfig, *, out: Path, quiet: bool) -> None:
    """Print what was resumed, counts, highest scores, what was left out, and the model with its error rate."""
    if quiet:
        return
    from rich.table import Table  # noqa: PLC0415 - keeps `nclf --help` quick
    from rich.text import Text  # noqa: PLC0415

    from nclforensics.pipelines.resume import read_run  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.run_document import describe_threshold  # noqa: PLC0415

    run = read_run(out)
    _print_resumed(run)
    counts = Table("outcome", "images", title=f"Scanned into {printable(str(out))}", title_justify="left")
    for outcome, count in sorted(summary.counts.items()):
        counts.add_row(outcome, str(count))
    print_table(counts)
    if summary.elevated:
        table = Table("score", "image", "regions above the threshold", title="Highest scores", title_justify="left")
        for score, path, extent in sorted(summary.elevated, reverse=True):
            table.add_row(f"{score:.3f}", Text(printable(path)), extent)
        print_table(table)
    for skipped in summary.skipped:
        print_note(f"skipped {printable(skipped.path)}: {printable(skipped.reason)}")
    if summary.counts["skipped"] > len(summary.skipped):
        print_note(f"and {summary.counts['skipped'] - len(summary.skipped)} more; {RESULTS_NAME} has all of them.")
    if run["passed_over"]:
        print_note(f"Files in the folders without an image's suffix, not examined: {run['passed_over']}.")
    rate = _error_rate(model, describe_threshold(model, config))
    print_note(f"Model {model.name}, weights sha256 {model.sha256[:12]}. {rate}")


def _print_resumed(run: dict[str, Any]) -> None:
    """Print how much of a resumed scan was done before; nothing if the scan is not resumed."""
    for resumed in run["resumed"][-1:]:
        kept, total = resumed["records_kept"], run["images"]
        done = "Nothing to do" if kept == total else "Resumed"
        images = f"{total} image" if total == 1 else f"{total} images"
        print_note(f"{done}: of {images}, {kept} had a record that still holds.")
        if resumed["torn_bytes"]:
            print_note(f"A last record of {resumed['torn_bytes']} bytes was incomplete; its image was scanned again.")


def _extent(finding: ScanFinding) -> str:
    count = len(finding.regions)
    return f"{count} region{'' if count == 1 else 's'}, {finding.tampered_share:.1%} of the area"


def _error_rate(model: LoadedModel, threshold: dict[str, Any]) -> str:
    """Return the sentence that says how often the threshold is wrong about authentic photos."""
    setting = f"threshold {threshold['value']:.4g}, regions above {threshold['min_region']:.2%} of the area"
    rate = threshold["false_positive_rate"]
    if rate is None:
        return f"At this setting ({setting}) no false-positive rate was measured."
    return (
        f"At this setting ({setting}) at most {rate:.1%} of {model.calibration.sample} showed a region: "
        "a region is a reason to look closer, not a proof, and an empty mask proves nothing either."
    )
