"""What a run of benchmarks/peers.py is, and the tables that it ends in."""

from __future__ import annotations

import platform
import statistics
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.peer_methods import PEERS
from nclforensics.metrics.image import flagged_count, threshold_at_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nclforensics.data.manifest import ImagePair

RATE: Final = 0.05
FIGURES: Final = ("f1@fpr5", "f1@0.5", "f1_best", "pixel_auc")
OURS: Final = "nclforensics"
_NAMED: Final = 3  # failing images a reason

Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One image of the run."""

    dataset: str
    pair: ImagePair


@dataclass(frozen=True)
class Run:
    """What all methods share.

    Attributes:
        items: Authentic images first, since they set the thresholds.
        sets: Name of every measured set -> name of the set whose authentic images set its threshold, None if none does.
        model: Name of the model.
        weights: What to load it by.
        sha256: Digest of its weights.
    """

    items: tuple[Item, ...]
    sets: dict[str, str | None]
    model: str
    weights: str | None
    sha256: str


def summarize(run: Run, rows: dict[str, list[Row]]) -> Row:
    """Return everything that the tables show."""
    tables = {name: {method: entry(run, lines, (name,)) for method, lines in rows.items()} for name in run.sets}
    if len(run.sets) > 1:
        tables["mean over sets"] = {method: entry(run, lines, tuple(run.sets)) for method, lines in rows.items()}
    shown = [peer for peer in PEERS if peer.name in rows]
    return {
        "made_by": "benchmarks/peers.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "model": {"name": run.model, "sha256": run.sha256},
        "packages": {name: version(name) for name in dict.fromkeys(peer.package for peer in shown)},
        "counts": {name: counts(run, name) for name in run.sets},
        "tables": tables,
        "methods": {peer.name: [peer.package, peer.traces, peer.scale.words] for peer in shown},
        "failures": {method: reasons(lines) for method, lines in rows.items() if reasons(lines)},
    }


def counts(run: Run, name: str) -> str:
    """Return in words how many images a set's figures come from."""
    kinds = Counter((item.dataset, item.pair.authentic) for item in run.items)
    lender = run.sets[name]
    source = "no threshold" if lender is None else f"threshold from {kinds[lender, True]} authentic images of {lender}"
    return f"{kinds[name, False]} tampered, {source}"


def entry(run: Run, rows: Sequence[Row], sets: tuple[str, ...]) -> Row:
    """Return a method's figures: of a set the mean over its tampered images, of several sets the mean over sets."""
    found: Row = {}
    for name in FIGURES:
        means = [mean_of(row[name] for row in rows if row["set"] == each and not row["authentic"]) for each in sets]
        found[name] = mean_of(means)
    lenders = {run.sets[each] for each in sets}
    flagged, authentic = (sum(part) for part in zip(*(alarms(rows, each) for each in lenders), strict=True))
    found["authentic_flagged"], found["authentic"] = flagged, authentic
    used = [row for row in rows if row["set"] in {*sets, *lenders}]
    worked = [row for row in used if row["failure"] is None]
    pixels = sum(row["megapixels"] for row in worked)
    found["seconds_per_megapixel"] = sum(row["seconds"] for row in worked) / pixels if worked else None
    found["failures"], found["images"] = len(used) - len(worked), len(used)
    return found


def alarms(rows: Sequence[Row], dataset: str | None) -> tuple[int, int]:
    """Return how many authentic images of a set are flagged at the threshold that they set, and how many there are."""
    evidence = [row["evidence"] for row in rows if row["authentic"] and row["set"] == dataset]
    return (flagged_count(evidence, threshold=threshold_at_rate(evidence, rate=RATE)) if evidence else 0), len(evidence)


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are."""
    present = [value for value in values if value is not None]
    return statistics.fmean(present) if present else None


def reasons(rows: Sequence[Row]) -> list[Row]:
    """Return why a method failed, how often, and on which images."""
    failed = [row for row in rows if row["failure"] is not None]
    return [
        {"reason": reason, "count": count, "images": [row["image"] for row in failed if row["failure"] == reason]}
        for reason, count in Counter(row["failure"] for row in failed).most_common()
    ]


def render(document: Row) -> str:
    """Return the tables as Markdown."""
    model = document["model"]
    caption = (
        f"{model['name']} (weights {model['sha256'][:12]}) beside the alternatives from PyPI: native size, one "
        f"run. {document['machine']}, one thread a method; {document['date']}."
    )
    lines = [caption]
    for name, table in document["tables"].items():
        lines += ["", f"### {name}", "", document["counts"].get(name, "each set counts once"), ""]
        lines += [f"| method | {' | '.join(FIGURES)} | authentic flagged | s/MP | failures |", "|---|" + "---|" * 7]
        by_headline = sorted(table.items(), key=lambda pair: [-(pair[1][name] or 0) for name in FIGURES])
        lines += [table_row(model["name"], method, figures) for method, figures in by_headline]
    if document["methods"]:
        lines += ["", "### Methods", "", "| method | package | looks for | score |", "|---|---|---|---|"]
    for method, (package, traces, scale) in document["methods"].items():
        lines.append(f"| {method} | {package} {document['packages'][package]} | {traces} | {scale} |")
    if document["failures"]:
        lines += ["", "### Failures: each counts as a map of 0.5", ""]
    for method, found in document["failures"].items():
        lines += [f"- {method}: {each['count']} x {each['reason']} ({shown_names(each['images'])})" for each in found]
    return "\n".join(lines) + "\n"


def table_row(model: str, method: str, figures: Row) -> str:
    """Return a line of a table."""
    name = f"**{model}**" if method == OURS else method
    cells = [f"{figures[figure]:.3f}" if figures[figure] is not None else "-" for figure in FIGURES]
    flagged = f"{figures['authentic_flagged']} of {figures['authentic']}" if figures["authentic"] else "-"
    speed = figures["seconds_per_megapixel"]
    cells += [flagged, "-" if speed is None else f"{speed:.2f}", f"{figures['failures']} of {figures['images']}"]
    return f"| {name} | {' | '.join(cells)} |"


def shown_names(images: Sequence[str]) -> str:
    """Return the first names of a list."""
    more = f", {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return ", ".join(images[:_NAMED]) + more
