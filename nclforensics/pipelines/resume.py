"""Going on with a scan that was stopped: which of its records still hold.

A record is kept if it is exactly a line that this version would write, its input and its outputs still have the digests
in it, and weights, settings and library versions are those of the run. Everything else is scanned again, skipped images
too, so the finished folder is the one that an uninterrupted scan leaves.

The records found are moved to `results.previous-N.jsonl`, from where each one that holds is appended to the new
`results.jsonl` as its turn comes; the moved files are removed when the scan is finished.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from nclforensics.config import ScanConfig
from nclforensics.config_tables import from_tables
from nclforensics.data.images import sha256_of
from nclforensics.errors import ConfigError, MissingInputError, UsageError, WeightsMismatchError
from nclforensics.pipelines.outputs import (
    PREVIOUS_FILES,
    RESULTS_FILE,
    RUN_FILE,
    SUFFIXES,
    cannot_write,
    is_inside,
    is_there,
    output_names,
    remove_file,
    remove_temporaries,
)
from nclforensics.pipelines.remote_inputs import recorded_input
from nclforensics.results import (
    OLDER_VERSIONS,
    RESULTS_SCHEMA_VERSION,
    ScanFinding,
    as_older_record,
    outcome_of_record,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan
    from nclforensics.results import Outcome


class EarlierRecords:
    """The records that an output folder holds from before, moved aside and looked up by the path of their image.

    Args:
        out: The output folder.

    Raises:
        OutputError: If the records cannot be moved or read.

    Attributes:
        torn_bytes: Length of last lines that a killed scan left incomplete.
        unreadable_lines: Number of complete lines that are no records.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._places: dict[str, tuple[int, int]] = {}
        self.torn_bytes = 0
        self.unreadable_lines = 0
        self._files = _move_aside(out)
        try:
            for number, file in enumerate(self._files):
                self._index(number, file)
        except OSError as error:
            raise cannot_write(out, error) from error

    def __len__(self) -> int:
        return len(self._places)

    def line_of(self, path: Path) -> bytes | None:
        """Return the last complete line about an image, None if there is none."""
        place = self._places.get(str(path))
        if place is None:
            return None
        number, offset = place
        with self._files[number].open("rb") as file:
            file.seek(offset)
            return file.readline()

    def remove_stale_outputs(self, planned: Container[str]) -> None:
        """Remove output files of earlier records that no planned image has a name for, if their bytes are ours.

        Args:
            planned: Names of the planned images' outputs, without suffix.
        """
        for number, offset in self._places.values():
            with self._files[number].open("rb") as file:
                file.seek(offset)
                outcome = parse_line(file.readline())
            if isinstance(outcome, ScanFinding):
                for name, digest in outcome.output_files().items():
                    if not _is_planned(name, planned) and file_has_digest(self._out, name, digest):
                        remove_file(self._out / name)

    def discard(self) -> None:
        """Remove the files moved aside: the new records are complete."""
        for file in self._files:
            remove_file(file)

    def _index(self, number: int, path: Path) -> None:
        with path.open("rb") as file:
            offset = 0
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn_bytes += len(line)
                elif (outcome := parse_line(line)) is None:
                    self.unreadable_lines += 1
                else:
                    self._places[outcome.path] = (number, offset)
                offset += len(line)


def continued(run: dict[str, Any], *, out: Path) -> tuple[dict[str, Any], EarlierRecords]:
    """Return the run document of a resumed scan, and the records to go on from.

    Args:
        run: The document that a new scan would begin with.
        out: The output folder; empty if the scan was killed before it wrote anything.

    Raises:
        MissingInputError: If there are records without a readable `run.json`.
        OutputError: If the records cannot be moved aside.
        UsageError: If settings, device, versions or case are not those of the run, or one of its inputs is not named
            again: the results of its images would be removed.
        WeightsMismatchError: If the weights are not.
    """
    if not holds_run(out):
        return run, EarlierRecords(out)
    earlier = read_run(out)
    _check_same(earlier, run, out=out)
    _check_inputs(earlier, run, out=out)
    records = EarlierRecords(out)
    note = {
        "started": run["started"],
        "command": run["command"],
        "operator": run["operator"],
        "engine": run.get("engine"),
        "host": run["host"],
        "git_commit": run["git_commit"],
        "status_before": earlier.get("status"),
        "images_before": earlier.get("images"),
        "records_found": len(records),
        "torn_bytes": records.torn_bytes,
        "unreadable_lines": records.unreadable_lines,
    }
    first = {key: earlier[key] for key in ("case", "operator", "command", "started", "host", "git_commit")}
    first["engine"] = earlier.get("engine", run.get("engine"))
    return {**run, **first, "resumed": [*earlier["resumed"], note]}, records


def holds_run(out: Path) -> bool:
    """Return whether an output folder holds a scan, or what should be one.

    Raises:
        OutputError: If the folder may not be entered.
    """
    return is_there(out / RUN_FILE) or is_there(out / RESULTS_FILE)


def clear_leftovers(plan: ScanPlan, earlier: EarlierRecords) -> None:
    """Remove what an earlier scan left and the planned one, which goes on with it, will not replace.

    Raises:
        OutputError: If a file cannot be removed.
    """
    remove_temporaries(plan.out)
    earlier.remove_stale_outputs({image.name for image in plan.images})


def remove_results(plan: ScanPlan) -> None:
    """Remove the records of an earlier scan and its outputs: those recorded, as far as the bytes are the same.

    A scan that was killed may have left more; of these the planned images' go that it would have written.

    Raises:
        OutputError: If a file cannot be removed.
    """
    out = plan.out
    remove_temporaries(out)
    for name in _left_by_a_killed_scan(plan):
        remove_file(out / name)
    earlier = EarlierRecords(out)
    earlier.remove_stale_outputs(())
    earlier.discard()


def _left_by_a_killed_scan(plan: ScanPlan) -> Iterator[str]:
    try:
        run = read_run(plan.out)
        config = config_of(run)
    except (MissingInputError, ConfigError):
        return
    if run.get("status") != "finished":
        for image in plan.images:
            yield from output_names(image.name, config)


def read_run(out: Path) -> dict[str, Any]:
    """Return the contents of an output folder's `run.json`.

    Raises:
        MissingInputError: If there is none, or it is none of ours.
    """
    path = out / RUN_FILE
    try:
        run = json.loads(path.read_bytes())
    except OSError as error:
        raise MissingInputError(
            f"Expected the record of a scan at {path}, cannot read it: {error.strerror}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise no_record(path, f"that is not valid JSON: {error}") from error
    fault = _fault_of(run)
    if fault is not None:
        raise no_record(path, fault)
    assert isinstance(run, dict)
    return run


def config_of(run: dict[str, Any]) -> ScanConfig:
    """Return the settings that a `run.json` records.

    Raises:
        ConfigError: If they are none of this version.
    """
    settings = {key: value for key, value in run["config"].items() if value is not None}
    return from_tables(ScanConfig, settings, where=RUN_FILE)


def no_record(path: Path, fault: str) -> MissingInputError:
    """Return the error that says why a `run.json` cannot be used, and what to do."""
    return MissingInputError(
        f"Expected the record of a scan as this version of nclf writes it in {path}, found a file {fault}. "
        "Put back the file that the scan wrote, or scan again into another folder."
    )


def parse_line(line: bytes) -> Outcome | None:
    """Return the outcome that a line of `results.jsonl` holds, None if the line is not exactly one of ours."""
    try:
        read = json.loads(line)
        outcome = outcome_of_record(read)
        written = outcome.to_record()
        if read["schema_version"] in OLDER_VERSIONS:
            written = as_older_record(written, read["schema_version"])
        same = json.dumps(written, allow_nan=False).encode() + b"\n" == line
    except (ValueError, RecursionError):
        return None
    return outcome if same else None


def still_holds(line: bytes, image: PlannedImage, config: ScanConfig, *, out: Path) -> ScanFinding | None:
    """Return the finding of an earlier record if input and outputs are unchanged, else None."""
    finding = parse_line(line)
    if not isinstance(finding, ScanFinding) or json.loads(line)["schema_version"] != RESULTS_SCHEMA_VERSION:
        return None
    files = finding.output_files()
    if finding.path != str(image.path) or list(files) != output_names(image.name, config):
        return None
    if finding.sha256 != _digest_on_disk(image.path):
        return None
    return finding if all(file_has_digest(out, name, digest) for name, digest in files.items()) else None


def file_has_digest(out: Path, name: str, digest: str) -> bool:
    """Return whether an output file is there, inside the output folder, with that SHA-256."""
    path = out / name
    return name.endswith(SUFFIXES) and is_inside(path, out) and _digest_on_disk(path) == digest


def _fault_of(run: object) -> str | None:
    """Return what a `run.json` lacks that is needed to go on with its scan or to report on it."""
    if not isinstance(run, dict):
        return "that holds no JSON object"
    kinds = {"resumed": list, "model": dict, "config": dict, "versions": dict, "working_folder": str, "inputs": list}
    for key in ("case", "operator", "command", "started", "host", "git_commit", "images", *kinds):
        if key not in run:
            return f'without "{key}"'
        if not isinstance(run[key], kinds.get(key, object)):
            return f'in which "{key}" is {run[key]!r:.80}'
    if not isinstance(run["model"].get("weights_sha256"), str):
        return 'without "weights_sha256" in "model"'
    if not all(isinstance(item, dict) and isinstance(item.get("path"), str) for item in run["inputs"]):
        return 'without "path" in "inputs"'
    return None


def _digest_on_disk(path: Path) -> str | None:
    try:
        return sha256_of(path) if path.is_file() else None
    except OSError:
        return None


def _is_planned(name: str, planned: Container[str]) -> bool:
    return any(name.removesuffix(suffix) in planned for suffix in SUFFIXES if name.endswith(suffix))


def _move_aside(out: Path) -> list[Path]:
    """Move the records aside and return all files of earlier records, oldest first."""
    number = 1
    while (out / PREVIOUS_FILES.format(number)).exists():
        number += 1
    try:
        if (out / RESULTS_FILE).exists():
            (out / RESULTS_FILE).rename(out / PREVIOUS_FILES.format(number))
            number += 1
    except OSError as error:
        raise cannot_write(out / RESULTS_FILE, error) from error
    return [out / PREVIOUS_FILES.format(index) for index in range(1, number)]


def _check_same(earlier: dict[str, Any], run: dict[str, Any], *, out: Path) -> None:
    found, expected = run["model"]["weights_sha256"], earlier["model"]["weights_sha256"]
    if found != expected:
        raise WeightsMismatchError(
            f"The scan in {out} was begun with weights of sha256 {expected[:12]}..., now they are {found[:12]}.... "
            "Go on with the same model, or scan into another folder."
        )
    old = {**earlier["config"], **earlier["versions"], "device": earlier.get("device")}
    new = {**run["config"], **run["versions"], "device": run["device"]}
    changed = [key for key in new if new[key] != old.get(key)]
    if changed:
        was, now = (", ".join(f"{key} {settings.get(key)}" for key in changed) for settings in (old, new))
        raise UsageError(
            f"The scan in {out} was begun with {was}; now it is {now}. "
            "Its records would not be comparable: go on with the same, or scan into another folder."
        )
    if run["case"] is not None and run["case"] != earlier["case"]:
        belongs = "has no case" if earlier["case"] is None else f"belongs to the case {earlier['case']!r}"
        raise UsageError(
            f"The scan in {out} {belongs}, and was to be gone on with for {run['case']!r}. "
            "Leave --case out, or scan into another folder."
        )


def _check_inputs(earlier: dict[str, Any], run: dict[str, Any], *, out: Path) -> None:
    """Refuse to go on without an input of the run that is still there; inputs, and images in folders, may be added."""
    named = {_place(item["path"], run) for item in run["inputs"]}
    places = ((item["path"], _place(item["path"], earlier)) for item in earlier["inputs"])
    left_out = [path for path, place in places if place not in named and not _is_gone(place)]
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise UsageError(
            f"The scan in {out} was begun in {earlier['working_folder']} with the input {left_out[0]}{more}, not named "
            "now: its results would be removed. Name it too, or scan into another folder."
        )


def _is_gone(place: str) -> bool:
    """Return whether a local input was removed; whether one in a store was is not asked."""
    return ":/" not in place and not os.path.lexists(place)  # of a URI, normalizing has left one slash


def _place(path: str, run: dict[str, Any]) -> str:
    """Return where an input of a run lies, whatever folder the run was started in."""
    return os.path.normpath(str(recorded_input(path, working_folder=run["working_folder"])))
