"""Verifying a scan afterwards: nothing was changed, nothing is missing, and it can be repeated.

Reads only. Records and files are hashed in one pass, and compared with each other; a sample of the images, drawn with a
seed, is then scanned again with the recorded settings, and every field and every byte must be the same. Who rewrites
the whole folder consistently is found by the sample alone (docs/verification.md).
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nclforensics.data.images import sha256_of
from nclforensics.errors import (
    DeviceUnavailableError,
    MissingInputError,
    UsageError,
    WeightsMismatchError,
    WeightsMissingError,
)
from nclforensics.networks.weights import bundled_models, load_model
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.outputs import MASK_SUFFIX, RESULTS_FILE, RUN_FILE, SUFFIXES
from nclforensics.pipelines.record_checks import (
    as_calibrated,
    contents_difference,
    counts_difference,
    finding_difference,
    inputs_difference,
    list_difference,
    mask_difference,
    model_differences,
    recorded_settings,
)
from nclforensics.pipelines.remote_inputs import InputReader, input_path, recorded_input
from nclforensics.pipelines.resume import file_has_digest, parse_line, read_run
from nclforensics.pipelines.run_document import changed_versions
from nclforensics.pipelines.scan_engine import IMAGE_ERRORS
from nclforensics.pipelines.scan_plan import PlannedImage
from nclforensics.reports.scan_document import outcome_name
from nclforensics.results import ScanFinding, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    model, note = _model_of(run, weights, needed=sample > 0 or weights is not None)
    records, plan = Check(name="records"), Check(name="list of images")
    inputs, outputs, findings = Check(name="inputs"), Check(name="outputs"), Check(name="findings")
    chosen: list[Outcome] = []
    dice = random.Random(seed)
    paths: list[str] = []
    known: set[str] = set()
    empty: set[tuple[str, int, int]] = set()
    counts: Counter[str] = Counter()
    for outcome in _outcomes(out, run, records):
        inputs.add(_input_difference(outcome, run))
        if isinstance(outcome, ScanFinding):
            files = outcome.output_files()
            known.update(files)
            changed = {name for name, digest in files.items() if not file_has_digest(out, name, digest)}
            for name in files:
                outputs.add(f"{name} is not the file that was written" if name in changed else None)
            if outcome.mask not in changed:
                findings.add(
                    finding_difference(outcome, run) or mask_difference(outcome, out / outcome.mask, empty=empty)
                )
        _draw(chosen, outcome, len(paths), sample=sample, dice=dice)
        paths.append(outcome.path)
        counts[outcome_name(outcome)] += 1
        report()
    settings = _check_run(run, counts, model)
    plan.add(list_difference(paths, run))
    for name in _unknown_outputs(out, known):
        outputs.add(f"{name} is in no record")
    again = _scan_again(chosen, run, model, note)
    notes = (*([note] if note else []), *changed_versions(run["versions"], what="The scan was made"))
    return Verification(checks=(settings, plan, records, inputs, outputs, findings, again), notes=notes)


def _model_of(run: dict[str, Any], weights: str | None, *, needed: bool) -> tuple[LoadedModel | None, str | None]:
    """Return the model that the scan used, or None and why it is not here."""
    try:
        model = load_model(_recorded_weights(run) if weights is None else weights)
    except (WeightsMissingError, WeightsMismatchError) as error:
        if needed:
            raise
        return None, f"Threshold and error rate were not compared with the model. {error}"
    recorded = run["model"]["weights_sha256"]
    if model.sha256 != recorded:
        return None, (
            f"The scan used weights of sha256 {recorded[:12]}..., here are {model.sha256[:12]}...; "
            "--weights names others."
        )
    return model, None


def _recorded_weights(run: dict[str, Any]) -> str | None:
    """Return the model that the scan was told to use; as an input, a relative path starts in the scan's folder.

    Where it was told nothing, it used the default model of its version, which may be bundled with this one too.
    """
    named = run["model"].get("weights")
    if named is None:
        named = run["model"].get("name")
        return str(named) if named in bundled_models() else None
    return str(named) if named in bundled_models() else str(Path(run["working_folder"], str(named)))


def _check_run(run: dict[str, Any], counts: Counter[str], model: LoadedModel | None) -> Check:
    """Check what run.json says: finished, settings with their digest, as many records, and what the model implies."""
    check = Check(name=RUN_FILE)
    status = run.get("status")
    check.add(None if status == "finished" else f"the scan is {status}, not finished: nclf scan --resume finishes it")
    check.add(contents_difference(run))
    check.add(counts_difference(counts, run))
    check.add(inputs_difference(run))
    settings = recorded_settings(run)
    if settings is None:
        check.add("the settings are none of this version")
        return check
    config, digest = settings
    intact = digest == run.get("config_sha256")
    check.add(None if intact else "the settings do not have the digest recorded beside them")
    if model is not None:
        check.add("; ".join(model_differences(run, model, config)) or None)
    return check


def _outcomes(out: Path, run: dict[str, Any], records: Check) -> Iterator[Outcome]:
    """Yield the records; checks each line, and the file's digest where run.json has it."""
    sha256 = hashlib.sha256()
    try:
        with (out / RESULTS_FILE).open("rb") as file:
            for number, line in enumerate(file, start=1):
                sha256.update(line)
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
    if run.get("results_sha256") is None and _recorded_no_digest(run):
        return
    same = sha256.hexdigest() == run.get("results_sha256")
    records.add(
        None if same else f"{RESULTS_FILE} does not have the digest that a scan records in {RUN_FILE} at its end"
    )


def _recorded_no_digest(run: dict[str, Any]) -> bool:
    """Return whether a scan recorded no digest of its records: one that was killed, or before 0.2.0."""
    return run.get("status") == "running" or str(run["versions"].get("nclforensics")).startswith("0.1.")


def _input_difference(outcome: Outcome, run: dict[str, Any]) -> str | None:
    """Return what is different about an input; a skipped one that could not even be hashed proves nothing."""
    if outcome.sha256 is None:
        return None
    path = _place(outcome.path, run)
    try:
        return None if path.is_file() and sha256_of(path) == outcome.sha256 else f"{path} is missing or was changed"
    except (OSError, UsageError) as error:  # the latter: in no store that is known here
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def _place(path: str, run: dict[str, Any]) -> Path:
    return recorded_input(path, working_folder=str(run.get("working_folder", "")))


def _draw(chosen: list[Outcome], outcome: Outcome, seen: int, *, sample: int, dice: random.Random) -> None:
    """Keep a uniform sample of all outcomes so far, of at most `sample` (Vitter's algorithm R)."""
    if len(chosen) < sample:
        chosen.append(outcome)
    elif (place := dice.randint(0, seen)) < sample:
        chosen[place] = outcome


def _unknown_outputs(out: Path, known: set[str]) -> Iterator[str]:
    for path in sorted(out.rglob("*.png")):
        name = path.relative_to(out).as_posix()
        # A folder of photos may be named like an output.
        if name.endswith(SUFFIXES) and name not in known and path.is_file():
            yield name


def _scan_again(chosen: list[Outcome], run: dict[str, Any], model: LoadedModel | None, note: str | None) -> Check:
    check = Check(name="scanned again")
    if not chosen:
        return check
    if model is None:
        check.add(f"not possible: {note}")
        return check
    settings = recorded_settings(run)
    if settings is None:
        check.add("not possible: the settings are none of this version")
        return check
    config, digest = settings
    try:
        examiner = Examiner(as_calibrated(model, run) or model, config)
    except (UsageError, DeviceUnavailableError) as error:
        if isinstance(error, DeviceUnavailableError) and digest == run.get("config_sha256"):
            raise
        check.add(f"not possible: {error}")
        return check
    # In a process of its own, as in a scan: what was skipped may be what a decoder crashes at.
    with examiner, InputReader(1, max_pixels=config.max_pixels) as reader:
        for outcome in chosen:
            check.add(_difference_again(outcome, examiner, reader, run))
    return check


def _difference_again(outcome: Outcome, examiner: Examiner, reader: InputReader, run: dict[str, Any]) -> str | None:
    """Return what comes out different; an image that was skipped must not be readable now."""
    name = outcome.mask.removesuffix(MASK_SUFFIX) if isinstance(outcome, ScanFinding) else ""
    try:
        loaded = reader.submit(_place(outcome.path, run)).result()
        image = PlannedImage(input_path(outcome.path), name)
        again, _ = examiner.conclude(image, loaded, examiner.localize(loaded))
    except (*IMAGE_ERRORS, UsageError) as error:
        skipped = isinstance(outcome, SkippedImage)
        return None if skipped else f"{outcome.path} could not be scanned again: {error}"
    if isinstance(outcome, SkippedImage):
        return f"{outcome.path} was skipped, but can be scanned: nclf scan --resume does it. Recorded: {outcome.reason}"
    if again.quality and outcome.quality and outcome.quality.level_unevenness is None:  # an older record
        unknown = dataclasses.replace(again.quality, level_unevenness=None, levels_changed=False)
        again = dataclasses.replace(again, quality=unknown)
    fields = [item.name for item in dataclasses.fields(outcome)]
    changed = [name for name in fields if getattr(again, name) != getattr(outcome, name)]
    return f"{outcome.path} came out different in {', '.join(changed)}" if changed else None
