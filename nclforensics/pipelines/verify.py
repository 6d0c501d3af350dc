"""Verifying a scan afterwards: nothing was changed, nothing is missing, and it can be repeated.

Reads only. Records and files are hashed in one pass; a sample of the images, drawn with a seed, is then scanned again
with the recorded settings, and every field and every byte must be the same.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nclforensics.config import ScanConfig, from_tables
from nclforensics.data.images import open_image, sha256_of
from nclforensics.errors import ConfigError, MissingInputError, UnreadableImageError
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.outputs import MASK_SUFFIX, RESULTS_FILE, RUN_FILE, SUFFIXES
from nclforensics.pipelines.remote_inputs import input_path, on_disk, recorded_input
from nclforensics.pipelines.resume import file_has_digest, parse_line, read_run
from nclforensics.pipelines.run_document import digest_of_config, versions
from nclforensics.pipelines.scan_plan import PlannedImage, digest_of_paths
from nclforensics.reports.scan_document import recorded_calibration
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nclforensics.networks.weights import LoadedModel
    from nclforensics.results import Outcome

LISTED: Final = 20  # differences that a check keeps in words; all are counted


@dataclass(kw_only=True)
class Check:
    """One kind of fact that was compared with the records.

    Attributes:
        name: What was compared.
        checked: How many.
        differing: How many were not as recorded.
        examples: The first of these, in words.
    """

    name: str
    checked: int = 0
    differing: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, difference: str | None) -> None:
        """Count one comparison; the difference is None where there was none."""
        self.checked += 1
        if difference is not None:
            self.differing += 1
            if len(self.examples) < LISTED:
                self.examples.append(difference)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of `verify_run`.

    Attributes:
        checks: In the order of the table.
        notes: What may explain a difference: versions that changed.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> int:
        """Return the number of differences."""
        return sum(check.differing for check in self.checks)


def verify_run(
    out: Path, *, sample: int, seed: int = 0, weights: str | None = None, report: Callable[[], None] = lambda: None
) -> Verification:
    """Compare a scan's output folder, and its inputs, with its records.

    Args:
        out: The output folder of the scan.
        sample: How many images to scan again.
        seed: Which ones.
        weights: The model, where it is no longer at the place that the scan took it from.
        report: Called after each image.

    Raises:
        MissingInputError: If the folder holds no record of a scan.
        WeightsMissingError: If there is no such model.
        DeviceUnavailableError: If this machine does not have the device that the scan used.
    """
    run = read_run(out)
    records, plan = Check(name="records"), Check(name="list of images")
    inputs, outputs = Check(name="inputs"), Check(name="outputs")
    settings = _check_run(run)
    chosen: list[ScanFinding] = []
    dice = random.Random(seed)
    paths: list[str] = []
    known: set[str] = set()
    findings = 0
    for outcome in _outcomes(out, records):
        paths.append(outcome.path)
        inputs.add(_input_difference(outcome, run))
        if isinstance(outcome, ScanFinding):
            for name, digest in outcome.output_files().items():
                known.add(name)
                outputs.add(None if file_has_digest(out, name, digest) else f"{name} is not the file that was written")
            _draw(chosen, outcome, findings, sample=sample, dice=dice)
            findings += 1
        report()
    _check_completeness(paths, run, plan)
    for name in _unknown_outputs(out, known):
        outputs.add(f"{name} is in no record")
    again = _scan_again(chosen, run, weights=weights) if chosen else Check(name="scanned again")
    return Verification(checks=(settings, plan, records, inputs, outputs, again), notes=tuple(_changed_versions(run)))


def _check_run(run: dict[str, Any]) -> Check:
    """Check that run.json says that the scan is finished, and that its settings have the recorded digest."""
    check = Check(name=RUN_FILE)
    status = run.get("status")
    check.add(None if status == "finished" else f"the scan is {status}, not finished: nclf scan --resume finishes it")
    try:
        intact = digest_of_config(_config_of(run)) == run.get("config_sha256")
    except ConfigError:
        intact = False
    check.add(None if intact else "the settings do not have the digest recorded beside them")
    return check


def _outcomes(out: Path, records: Check) -> Iterator[Outcome]:
    try:
        with (out / RESULTS_FILE).open("rb") as file:
            for number, line in enumerate(file, start=1):
                outcome = parse_line(line)
                if outcome is None:
                    records.add(f"line {number} is no record as this version writes it")
                    continue
                records.add(None)
                yield outcome
    except OSError as error:
        raise MissingInputError(
            f"Expected records at {out / RESULTS_FILE}, cannot read it: {error.strerror}."
        ) from error


def _check_completeness(paths: list[str], run: dict[str, Any], plan: Check) -> None:
    if digest_of_paths(paths) == run.get("images_sha256"):
        plan.add(None)
        return
    twice = {path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else set()
    detail = f"; twice: {', '.join(sorted(twice))}" if twice else ""
    plan.add(f"expected the {run['images']} planned images once each, in order; found {len(paths)} records{detail}")


def _input_difference(outcome: Outcome, run: dict[str, Any]) -> str | None:
    """Return what is different about an input; a skipped one that could not even be hashed proves nothing."""
    if outcome.sha256 is None:
        return None
    path = _place(outcome.path, run)
    try:
        return None if path.is_file() and sha256_of(path) == outcome.sha256 else f"{path} is missing or was changed"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


def _place(path: str, run: dict[str, Any]) -> Path:
    return recorded_input(path, working_folder=str(run.get("working_folder", "")))


def _draw(chosen: list[ScanFinding], finding: ScanFinding, seen: int, *, sample: int, dice: random.Random) -> None:
    """Keep a uniform sample of all findings so far, of at most `sample` (Vitter's algorithm R)."""
    if len(chosen) < sample:
        chosen.append(finding)
    elif (place := dice.randint(0, seen)) < sample:
        chosen[place] = finding


def _unknown_outputs(out: Path, known: set[str]) -> Iterator[str]:
    for path in sorted(out.rglob("*.png")):
        name = path.relative_to(out).as_posix()
        # A folder of photos may be named like an output.
        if name.endswith(SUFFIXES) and name not in known and path.is_file():
            yield name


def _scan_again(findings: list[ScanFinding], run: dict[str, Any], *, weights: str | None) -> Check:
    check = Check(name="scanned again")
    model = load_model(run["model"].get("weights") if weights is None else weights)
    if model.sha256 != run["model"]["weights_sha256"]:
        check.add(
            f"not possible: the scan used weights of sha256 {run['model']['weights_sha256'][:12]}..., "
            f"here are {model.sha256[:12]}...; --weights names others"
        )
        return check
    with Examiner(_as_calibrated(model, run), _config_of(run)) as examiner:
        for finding in findings:
            check.add(_difference_again(finding, examiner, run))
    return check


def _as_calibrated(model: LoadedModel, run: dict[str, Any]) -> LoadedModel:
    """Return the model with the calibration of that time: a record says what a score means by it, in its words."""
    try:
        return dataclasses.replace(model, calibration=recorded_calibration(run["model"]["calibration"]))
    except (KeyError, TypeError):
        return model


def _difference_again(finding: ScanFinding, examiner: Examiner, run: dict[str, Any]) -> str | None:
    image = PlannedImage(input_path(finding.path), finding.mask.removesuffix(MASK_SUFFIX))
    try:
        with on_disk(_place(finding.path, run)) as file:
            loaded = open_image(file, max_pixels=examiner.config.max_pixels).examine()
        again, _ = examiner.conclude(image, loaded, examiner.localize(loaded))
    except (UnreadableImageError, MissingInputError, MemoryError) as error:
        return f"{finding.path} could not be scanned again: {error}"
    fields = [item.name for item in dataclasses.fields(finding)]
    changed = [name for name in fields if getattr(again, name) != getattr(finding, name)]
    return f"{finding.path} came out different in {', '.join(changed)}" if changed else None


def _config_of(run: dict[str, Any]) -> ScanConfig:
    settings = {key: value for key, value in run["config"].items() if value is not None}
    return from_tables(ScanConfig, settings, where=RUN_FILE)


def _changed_versions(run: dict[str, Any]) -> Iterator[str]:
    for name, here in versions().items():
        if (recorded := run["versions"].get(name)) != here:
            yield f"The scan was made with {name} {recorded}; here it is {here}."
