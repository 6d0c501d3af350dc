"""What a report says about a scan, whatever its format: nothing but what `run.json` and `results.jsonl` hold.

The document is about the scan as a whole and small; the images' records, of which there may be very many, are handed to
the renderers one after the other. A document has no time stamp of its own: the same records give the same report.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nclforensics.reports.field_types import check_fields
from nclforensics.results import Calibration, Outcome, ScanFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCAN_REPORT_SCHEMA_VERSION: Final = 1

# Every outcome that an image can have, in the order of a report, with what it means.
MEANINGS: Final = {
    "localized evidence": "At least one region has an elevated tampering score: a reason to look closer, not a proof.",
    "no localized evidence": "No region was found at this threshold: no proof that the image is authentic.",
    "inconclusive": "The image does not allow a statement either way; the reason is given.",
    "skipped": "The image was not analysed; the reason is given. This says nothing about the image.",
}
LIMITS: Final = (
    (
        "A region is a place where the tampering score is elevated. It does not say who changed what, when or why, "
        "and harmless processing can cause it too."
    ),
    (
        "Where no region was found the image may still have been manipulated: every model misses manipulations, the "
        "more so in images that were recompressed, resized or taken from a screen."
    ),
    "The score is not a probability.",
    (
        "The false-positive rates were measured on the photos named beside them. Other cameras, formats and ways of "
        "transmission have other rates."
    ),
    (
        "How many manipulations the model misses is not part of these records; the model's card (card.md in its "
        "folder) says what was measured."
    ),
    "Positions and sizes are in pixels of the image as it is stored, before any rotation that its metadata asks for.",
)


@dataclass(frozen=True, kw_only=True)
class NamedInput:
    """A file or folder that the user named, and for how many images it stands."""

    path: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """One time that the scan was gone on with.

    Attributes:
        started: When, UTC, ISO 8601.
        operator: Who, None if nobody was named.
        records_found: Number of records that were there already.
    """

    started: str
    operator: str | None
    records_found: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The threshold in force, and what is known about it.

    Attributes:
        threshold: Score above which a pixel counts.
        min_region: Share of the image's area that a region must exceed to count.
        false_positive_rate: Share of authentic photos with a region at this setting, None where it was not measured.
        authentic_images: Number of authentic photos behind the rate, None where it was not measured.
    """

    threshold: float
    min_region: float
    false_positive_rate: float | None
    authentic_images: int | None


@dataclass(frozen=True, kw_only=True)
class ScanDocument:
    """What a report says about a scan as a whole.

    Attributes:
        schema_version: Version of this structure.
        case: The case's identifier, None if none was given.
        operator: Who ran the scan, None if nobody was named.
        status: "finished", "interrupted", "failed", or "running" where the scan was killed or still runs.
        started: UTC, ISO 8601.
        ended: UTC, ISO 8601; None where the scan did not end by itself.
        resumed: Each time that the scan was gone on with.
        command: The command line, program name first.
        working_folder: Where it was run; relative paths start there.
        inputs: What the user named.
        planned: Number of images that belong to the scan.
        counts: Number of images by outcome, all of `MEANINGS`.
        problems: What is wrong with the records, in words.
        setting: The threshold in force.
        model: Name of the model.
        weights_sha256: Digest of its weights.
        calibration: What was measured about its thresholds.
        config: Every setting by name.
        config_sha256: Digest of the settings.
        device: Where the scores were computed.
        versions: Versions of this tool and the libraries that compute or encode a result; None where not installed.
        git_commit: The tool's commit, where it ran from a checkout.
        host: Name and system of the machine.
        results_sha256: Digest of `results.jsonl`.
        run_sha256: Digest of `run.json`.
        limits: What the results do not say.
    """

    schema_version: int
    case: str | None
    operator: str | None
    status: str
    started: str
    ended: str | None
    resumed: tuple[Resumption, ...]
    command: tuple[str, ...]
    working_folder: str
    inputs: tuple[NamedInput, ...]
    planned: int
    counts: dict[str, int]
    problems: tuple[str, ...]
    setting: Setting
    model: str
    weights_sha256: str
    calibration: Calibration
    config: dict[str, str | int | float | bool | None]
    config_sha256: str
    device: str
    versions: dict[str, str | None]
    git_commit: str | None
    host: dict[str, str]
    results_sha256: str
    run_sha256: str
    limits: tuple[str, ...]

    @property
    def recorded(self) -> int:
        """Return the number of images that have a record."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Reduced pictures of one image, shown upright; None where there is nothing to show.

    Attributes:
        photo: JPEG.
        overlay: JPEG; the overlay file, or the photo with the outlines of its regions where none was written.
        mask: PNG.
        score_map: JPEG, in the fixed colours of `color_scale`.
        notes: Why a picture is missing.
    """

    photo: bytes | None = None
    overlay: bytes | None = None
    mask: bytes | None = None
    score_map: bytes | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One image of a report: its record and its pictures."""

    outcome: Outcome
    pictures: Pictures


def scan_document(
    run: Mapping[str, Any], *, counts: Mapping[str, int], unreadable: int, results_sha256: str, run_sha256: str
) -> ScanDocument:
    """Return the document of a scan.

    Args:
        run: Content of `run.json`.
        counts: Number of records by outcome.
        unreadable: Number of lines of `results.jsonl` that are no records.
        results_sha256: Digest of `results.jsonl`.
        run_sha256: Digest of `run.json`.

    Raises:
        KeyError, TypeError, ValueError: If `run` is not what this version writes.
    """
    model, setting = run["model"], run["threshold"]
    document = ScanDocument(
        schema_version=SCAN_REPORT_SCHEMA_VERSION,
        case=run["case"],
        operator=run["operator"],
        status=run["status"],
        started=run["started"],
        ended=run["ended"],
        resumed=tuple(
            Resumption(started=item["started"], operator=item["operator"], records_found=item["records_found"])
            for item in run["resumed"]
        ),
        command=_tuple(run["command"]),
        working_folder=run["working_folder"],
        inputs=tuple(NamedInput(**item) for item in run["inputs"]),
        planned=run["images"],
        counts={outcome: counts.get(outcome, 0) for outcome in MEANINGS},
        problems=_problems(run, counts=counts, unreadable=unreadable),
        setting=Setting(
            threshold=setting["value"],
            min_region=setting["min_region"],
            false_positive_rate=setting["false_positive_rate"],
            authentic_images=setting["authentic_images"],
        ),
        model=model["name"],
        weights_sha256=model["weights_sha256"],
        calibration=recorded_calibration(model["calibration"]),
        config=dict(run["config"]),
        config_sha256=run["config_sha256"],
        device=run["device"],
        versions=dict(run["versions"]),
        git_commit=run["git_commit"],
        host=dict(run["host"]),
        results_sha256=results_sha256,
        run_sha256=run_sha256,
        limits=LIMITS,
    )
    check_fields(document)  # the renderers take the types for granted
    if any("\0" in path for path in (document.working_folder, *(item.path for item in document.inputs))):
        raise ValueError("expected paths, found a zero byte in one, which no path can hold")
    return document


def outcome_name(outcome: Outcome) -> str:
    """Return which of `MEANINGS` an image's record is."""
    return outcome.decision if isinstance(outcome, ScanFinding) else "skipped"


def first_to_see(outcomes: Iterable[Outcome], order: Sequence[str], *, limit: int) -> frozenset[int]:
    """Return the numbers, from 1, of the images to show where there is no room for all.

    Args:
        outcomes: All images, in the order of the records.
        order: Which of `MEANINGS` are shown, the first ones first; within one, higher scores are.
        limit: How many images are shown at most.
    """
    keys = (
        (order.index(name), -getattr(outcome, "image_score", 0.0), number)
        for number, outcome in enumerate(outcomes, start=1)
        if (name := outcome_name(outcome)) in order
    )
    return frozenset(number for *_, number in heapq.nsmallest(limit, keys))


def rate_in_words(setting: Setting, calibration: Calibration) -> str:
    """Return the sentence that says how often the threshold is wrong about authentic photos."""
    if setting.false_positive_rate is None:
        return "At this setting no false-positive rate was measured."
    return f"At this setting at most {setting.false_positive_rate:.1%} of {calibration.sample} showed a region."


def recorded_calibration(table: Mapping[str, Any]) -> Calibration:
    """Return the calibration that `run.json` records of the model that was used.

    Raises:
        KeyError, TypeError, ValueError: If the table is none that this version writes.
    """
    calibration = Calibration(
        false_positive_rates=_tuple(table["false_positive_rates"]),
        thresholds=_tuple(table["thresholds"]),
        min_region=table["min_region"],
        authentic=table["authentic"],
        source=table["source"],
        versions=table.get("versions", 1),
        largest_pixels=table.get("largest_pixels", 0),
    )
    check_fields(calibration)
    rates, thresholds = len(calibration.false_positive_rates), len(calibration.thresholds)
    if rates != thresholds:
        raise ValueError(f"expected a threshold for each false-positive rate, found {thresholds} for {rates}")
    return calibration


def _tuple(items: object) -> tuple[Any, ...]:
    """Return a list of JSON; text would come apart into its letters."""
    if not isinstance(items, list | tuple):
        raise TypeError(f"expected a list, found {items!r:.80}")
    return tuple(items)


def _problems(run: Mapping[str, Any], *, counts: Mapping[str, int], unreadable: int) -> tuple[str, ...]:
    problems = []
    recorded = sum(counts.values())
    if recorded != run["images"] or run["status"] != "finished":
        problems.append(
            f"The scan is not complete: {recorded} of {run['images']} images have a record, and its status is "
            f'"{run["status"]}". nclf scan --resume finishes it.'
        )
    if run.get("error"):
        problems.append(f"The scan ended with an error: {run['error']}")
    if unreadable:
        problems.append(f"Lines of results.jsonl that are no readable record, and are missing here: {unreadable}.")
    if run["status"] == "finished" and run["counts"] != {name: count for name, count in counts.items() if count}:
        problems.append("The records are not those that run.json counts: they were changed after the scan.")
    return tuple(problems)
