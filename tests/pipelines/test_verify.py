"""A scan's folder is verified: whatever was changed is found, and nothing is found where nothing was."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.errors import DeviceUnavailableError, MissingInputError, WeightsMissingError
from nclforensics.networks import weights
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import run_document
from nclforensics.pipelines.outputs import digest_of, encode_png
from nclforensics.pipelines.record_checks import list_difference, recorded_settings
from nclforensics.pipelines.run_document import Custody
from nclforensics.pipelines.verify import Check, Verification, verify_run
from nclforensics.results import SkippedImage, as_older_record, outcome_of_record
from tests.factories import make_image
from tests.scan_folders import contents, scan_folder, write_photos
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """Make a tiny model the default one and return it."""
    write_model(tmp_path / "models" / weights.DEFAULT_MODEL)
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: tmp_path / "models")
    return load_model()


@pytest.fixture
def out(model: LoadedModel, tmp_path: Path) -> Path:
    """Return the folder of a finished scan of four photos and a file that is none."""
    photos = write_photos(tmp_path / "photos", count=4)
    (photos / "none.jpg").write_bytes(b"not a photo")
    scan_folder(model, photos, tmp_path / "out")
    return tmp_path / "out"


def _differing(verification: Verification) -> dict[str, int]:
    return {check.name: check.differing for check in verification.checks if check.differing}


def _check(verification: Verification, name: str) -> Check:
    (check,) = (check for check in verification.checks if check.name == name)
    return check


def test_an_untouched_scan_is_as_recorded(out: Path) -> None:
    """Everything was compared, nothing differs, and nothing was written."""
    before = contents(out)
    verification = verify_run(out, sample=2)
    assert {check.name: check.checked for check in verification.checks} == {
        "run.json": 6,
        "list of images": 1,
        "records": 6,
        "inputs": 5,
        "outputs": 4,
        "findings": 4,
        "scanned again": 2,
    }
    assert (_differing(verification), verification.notes) == ({}, ())
    assert contents(out) == before


def test_a_folder_named_like_an_output_is_none(model: LoadedModel, tmp_path: Path) -> None:
    """The tree of outputs mirrors that of the photos, whatever its folders are called."""
    write_photos(tmp_path / "photos" / "foo.mask.png", count=1)
    scan_folder(model, tmp_path / "photos", tmp_path / "out")
    assert (tmp_path / "out" / "foo.mask.png").is_dir()
    assert _differing(verify_run(tmp_path / "out", sample=0)) == {}


def _change_input(out: Path) -> None:
    (out.parent / "photos" / "1.png").write_bytes(encode_png(make_image(72, 80, seed=99)))


def _remove_input(out: Path) -> None:
    (out.parent / "photos" / "none.jpg").unlink()


def _change_mask(out: Path) -> None:
    with (out / "1.png.mask.png").open("ab") as file:
        file.write(b"\0")


def _add_mask(out: Path) -> None:
    (out / "9.png.mask.png").write_bytes(b"planted")


def _drop_record(out: Path) -> None:
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join(lines[:4]))


def _repeat_record(out: Path) -> None:
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join([*lines, lines[4]]))


def _tear_record(out: Path) -> None:
    content = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").write_bytes(content[:-1])


def _change_settings(out: Path) -> None:
    run = json.loads((out / "run.json").read_text())
    run["config"]["min_region"] = 0.25
    (out / "run.json").write_text(json.dumps(run))


def _change_records(out: Path, index: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change one record, and its digest in run.json, so that other checks have to find it."""
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    lines[index] = json.dumps(change(json.loads(lines[index]))) + "\n"
    (out / "results.jsonl").write_text("".join(lines))
    _change_run(out, results_sha256=digest_of("".join(lines).encode()))


def _change_run(out: Path, **changes: object) -> None:
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, **changes}))


def _clear_record(out: Path) -> None:
    nothing: dict[str, Any] = {"decision": "no localized evidence", "reason": None, "regions": [], "image_score": 0.0}
    _change_records(out, 0, lambda record: {**record, **nothing, "tampered_share": 0.0})


def _say_that_nothing_was_found(out: Path) -> None:
    _change_records(out, 0, lambda record: {**record, "decision": "no localized evidence", "reason": None})


def _raise_threshold_of_record(out: Path) -> None:
    _change_records(out, 0, lambda record: {**record, "threshold": 0.9})


def _lower_score(out: Path) -> None:
    _change_records(out, 0, lambda record: {**record, "image_score": 0.0})


def _skip(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: record[name] for name in ("schema_version", "path", "sha256", "size_bytes")}
    facts = {"reason": "Cannot decode it.", "error": "UnreadableImageError"}
    skipped = SkippedImage(path=kept["path"], **facts, sha256=kept["sha256"], size_bytes=kept["size_bytes"])
    return skipped.to_record()


def _skip_record(out: Path) -> None:
    _change_records(out, 0, _skip)
    (out / "0.png.mask.png").unlink()


def _change_error_rate(out: Path) -> None:
    threshold = {"value": 0.1, "min_region": 0.0, "false_positive_rate": 0.0001, "authentic_images": 99999}
    _change_run(out, threshold=threshold)


def _change_calibration(out: Path) -> None:
    model = json.loads((out / "run.json").read_text())["model"]
    _change_run(out, model={**model, "calibration": {**model["calibration"], "source": "the best photos"}})


def _change_model_name(out: Path) -> None:
    model = json.loads((out / "run.json").read_text())["model"]
    _change_run(out, model={**model, "name": "a better one"})


def _change_number_of_images(out: Path) -> None:
    inputs = json.loads((out / "run.json").read_text())["inputs"]
    _change_run(out, images=9, inputs=[{**inputs[0], "images": 9}])


def _change_images_of_input(out: Path) -> None:
    inputs = json.loads((out / "run.json").read_text())["inputs"]
    _change_run(out, inputs=[{**inputs[0], "images": 9}])


def _change_kind_of_images(out: Path) -> None:
    inputs = json.loads((out / "run.json").read_text())["inputs"]
    _change_run(out, inputs=[{**inputs[0], "images": "5"}])


def _change_device(out: Path) -> None:
    _change_run(out, device="cuda:0 (NVIDIA H100 80GB HBM3)")


def _leave_running(out: Path) -> None:
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, "status": "running"}))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_change_input, {"inputs": 1}),
        (_remove_input, {"inputs": 1}),
        (_change_mask, {"outputs": 1}),
        (_add_mask, {"outputs": 1}),
        (_drop_record, {"run.json": 1, "list of images": 1, "records": 1}),
        (_repeat_record, {"run.json": 1, "list of images": 1, "records": 1}),
        (_tear_record, {"run.json": 1, "list of images": 1, "records": 2}),
        (_clear_record, {"run.json": 1, "findings": 1}),
        (_say_that_nothing_was_found, {"run.json": 1, "findings": 1}),
        (_raise_threshold_of_record, {"findings": 1}),
        (_lower_score, {"findings": 1}),
        (_skip_record, {"run.json": 1}),
        (_change_error_rate, {"run.json": 1}),
        (_change_calibration, {"run.json": 1}),
        (_change_model_name, {"run.json": 1}),
        (_change_number_of_images, {"list of images": 1}),
        (_change_images_of_input, {"run.json": 1}),
        (_change_kind_of_images, {"run.json": 1}),
        (_change_device, {"findings": 4}),
        (_change_settings, {"run.json": 2, "findings": 4}),
        (_leave_running, {"run.json": 1}),
    ],
    ids=lambda case: case.__name__[1:] if callable(case) else None,
)
def test_a_change_is_found(out: Path, change: Callable[[Path], None], found: dict[str, int]) -> None:
    """In the checks that it belongs to, and in no other, with words that name it."""
    change(out)
    verification = verify_run(out, sample=0)
    assert _differing(verification) == found
    assert all(_check(verification, name).examples for name in found)


@pytest.mark.parametrize(
    "change",
    [
        {"authentic": 1_000_000, "false_positive_rates": [0.01, 0.05, 0.1]},
        {"authentic": 1_000_000, "false_positive_rates": ["a", "b"]},
        {"authentic": 1_000_000, "thresholds": None},
        {"authentic": "a million"},
    ],
    ids=str,
)
def test_a_calibration_that_is_no_table_is_a_difference(out: Path, change: dict[str, Any]) -> None:
    """Else a false claim would only have to be malformed too to be compared with nothing."""
    model = json.loads((out / "run.json").read_text())["model"]
    _change_run(out, model={**model, "calibration": {**model["calibration"], **change}})
    verification = verify_run(out, sample=1)
    assert _differing(verification) == {"run.json": 1}
    assert "calibration is no table of this version" in _check(verification, "run.json").examples[0]


@pytest.mark.parametrize(
    "change",
    [
        {"max_pixels": "x"},
        {"threshold": 7},
        {"threshold": float("nan")},
        {"min_region": 10**400},
        {"tile": 16},
        {"device": "cuda:99"},
        {"device": "abacus"},
    ],
    ids=lambda change: str(change)[:30],
)
def test_settings_that_cannot_be_used_are_differences(out: Path, change: dict[str, Any]) -> None:
    """They are told in the table, together with everything else; nothing was wrong with the command."""
    config = json.loads((out / "run.json").read_text())["config"]
    _change_run(out, config={**config, **change})
    verification = verify_run(out, sample=1)
    assert {"run.json", "scanned again"} <= _differing(verification).keys()
    assert "not possible" in _check(verification, "scanned again").examples[0]


def test_a_device_that_is_not_here_is_no_difference(out: Path) -> None:
    """The settings are those of the scan, so this machine is the wrong one to repeat it."""
    config = json.loads((out / "run.json").read_text())["config"]
    _change_run(out, config={**config, "device": "cuda:99"})
    settings = recorded_settings(json.loads((out / "run.json").read_text()))
    assert settings is not None
    _change_run(out, config_sha256=settings[1])
    with pytest.raises(DeviceUnavailableError):
        verify_run(out, sample=1)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"mask": "a\0.mask.png"}, {"outputs": 2}),
        ({"path": "\ud800.png"}, {"inputs": 1, "list of images": 1, "scanned again": 1}),
        ({"path": "a\0.png"}, {"inputs": 1, "list of images": 1, "scanned again": 1}),
        ({"path": "no-such-store://a.png"}, {"inputs": 1, "list of images": 1, "scanned again": 1}),
    ],
    ids=ascii,
)
def test_names_that_no_file_can_have_are_differences(
    out: Path, change: dict[str, Any], found: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes a record may write anything."""
    _change_records(out, 0, lambda record: {**record, **change})
    sampled = 1 if "scanned again" in found else 0
    monkeypatch.setattr("nclforensics.pipelines.verify.random.Random.randint", lambda *_: 10**6)  # draws the first
    assert _differing(verify_run(out, sample=sampled)) == found


def test_records_that_are_twice_are_named_in_no_time() -> None:
    """Each path is counted once, however many there are: a million records are no reason to wait for days."""
    start = time.perf_counter()
    difference = list_difference([*map(str, range(40_000)), "7"], {"images": 40_000})
    assert difference is not None
    assert difference.endswith("found 40001 records; twice: 7")
    assert time.perf_counter() - start < 5


def test_a_forged_record_does_not_survive_the_sample(out: Path) -> None:
    """Whatever was changed consistently, digests and all: scanning again shows it, and names the fields."""
    _change_records(out, 0, lambda record: {**record, "image_score": 1.0})
    verification = verify_run(out, sample=5)
    assert _differing(verification) == {"scanned again": 1}
    assert "0.png came out different in image_score" in _check(verification, "scanned again").examples[0]


def test_what_an_older_scan_did_not_measure_is_no_difference(out: Path) -> None:
    """Records of schema version 3 have no facts about levels; what they have is compared."""

    def older(record: dict[str, Any]) -> dict[str, Any]:
        return as_older_record(outcome_of_record(record).to_record(), 3)

    for index in range(5):
        _change_records(out, index, older)
    verification = verify_run(out, sample=5)
    assert (_differing(verification), _check(verification, "scanned again").checked) == ({}, 5)


def test_a_changed_record_has_another_digest(out: Path) -> None:
    """Even if the record contradicts nothing."""
    sha256 = json.loads((out / "run.json").read_text())["results_sha256"]
    _change_records(out, 0, lambda record: {**record, "image_score": 1.0})
    _change_run(out, results_sha256=sha256)
    assert _differing(verify_run(out, sample=0)) == {"records": 1}


def test_an_older_scan_has_no_digest_of_its_records(out: Path) -> None:
    """That is no difference."""
    run = json.loads((out / "run.json").read_text())
    del run["results_sha256"]
    run["versions"]["nclforensics"] = "0.1.0"
    (out / "run.json").write_text(json.dumps(run))
    verification = verify_run(out, sample=0)
    assert (_differing(verification), _check(verification, "records").checked) == ({}, 5)


@pytest.mark.parametrize("digest", [None, ""])
def test_a_digest_that_was_taken_out_is_missed(out: Path, digest: str | None) -> None:
    """Else a changed record would need no digest that fits."""
    _change_run(out, results_sha256=digest)
    assert _differing(verify_run(out, sample=0)) == {"records": 1}


def test_a_killed_scan_recorded_no_digest(out: Path) -> None:
    """What differs is that it is not finished."""
    _change_run(out, results_sha256=None, status="running", counts={})
    assert _differing(verify_run(out, sample=0)) == {"run.json": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"error": "boom"}, "finished, but with the error 'boom'"),
        ({"config": {"unheard": None}}, "settings that no scan has: unheard"),
    ],
)
def test_what_no_scan_writes_is_a_difference(out: Path, changes: dict[str, Any], words: str) -> None:
    """A report would show it as if the scan had said so."""
    run = json.loads((out / "run.json").read_text())
    if "config" in changes:
        changes = {"config": {**run["config"], **changes["config"]}}
    _change_run(out, **changes)
    verification = verify_run(out, sample=0)
    assert _differing(verification) == {"run.json": 1}
    assert words in " ".join(_check(verification, "run.json").examples)


def test_a_resumed_scan_is_as_recorded(out: Path, model: LoadedModel) -> None:
    """The digest is that of the records kept and of those that were added."""
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join(lines[:2]))
    scan_folder(model, out.parent / "photos", out, resume=True)
    verification = verify_run(out, sample=0)
    assert (_differing(verification), _check(verification, "records").checked) == ({}, 6)


def test_an_image_that_was_skipped_is_tried_again(out: Path) -> None:
    """A record that says so is no way to hide an image; the one that is none stays skipped."""
    _change_records(out, 0, _skip)
    (out / "0.png.mask.png").unlink()
    run = json.loads((out / "run.json").read_text())
    (decision,) = {name for name in run["counts"] if name != "skipped"}
    _change_run(out, counts={decision: 3, "skipped": 2})
    verification = verify_run(out, sample=5)
    assert _differing(verification) == {"scanned again": 1}
    assert "0.png was skipped, but can be scanned" in _check(verification, "scanned again").examples[0]


def test_a_model_that_is_not_here_is_told(out: Path, tmp_path: Path) -> None:
    """Nothing needs it without a sample, but the error rate is then not compared."""
    shutil.rmtree(tmp_path / "models")
    _change_error_rate(out)
    verification = verify_run(out, sample=0)
    assert _differing(verification) == {}
    assert "Threshold and error rate were not compared" in verification.notes[0]


def test_the_sample_is_drawn_with_the_seed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds scan the same images again; over the seeds every image has its turn, a skipped one too."""

    def drawn(seed: int) -> tuple[str, ...]:
        seen: list[str] = []
        monkeypatch.setattr(
            "nclforensics.pipelines.verify._difference_again", lambda finding, *_: seen.append(finding.path)
        )
        verify_run(out, sample=2, seed=seed)
        return tuple(sorted(path.rpartition("/")[2] for path in seen))

    samples = [drawn(seed) for seed in range(16)]
    assert samples == [drawn(seed) for seed in range(16)]
    assert {name for sample in samples for name in sample} == {"0.png", "1.png", "2.png", "3.png", "none.jpg"}
    assert all(len(set(sample)) == 2 for sample in samples)


def test_other_weights_are_not_compared(out: Path, tmp_path: Path) -> None:
    """Another model computes other masks; that is said instead."""
    other = write_model(tmp_path / "other", seed=1)
    verification = verify_run(out, sample=1, weights=str(other))
    assert "not possible" in _check(verification, "scanned again").examples[0]


def test_a_relative_input_is_found_from_anywhere(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths are relative to the folder that the scan ran in."""
    photos = write_photos(tmp_path / "photos", count=2)
    monkeypatch.chdir(tmp_path)
    scan_folder(model, photos.relative_to(tmp_path), tmp_path / "out")
    monkeypatch.chdir("/")
    assert _differing(verify_run(tmp_path / "out", sample=1)) == {}


def test_relative_weights_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like inputs, they are relative to the folder that the scan ran in; a bundled model's name stays one."""
    photos = write_photos(tmp_path / "photos", count=1)
    monkeypatch.chdir(tmp_path)
    for number, named in enumerate((str(write_model(tmp_path / "m").relative_to(tmp_path)), weights.DEFAULT_MODEL)):
        scan_folder(load_model(named), photos, tmp_path / f"out{number}", custody=Custody(weights=named))
    monkeypatch.chdir("/")
    for number in range(2):
        verification = verify_run(tmp_path / f"out{number}", sample=1)
        assert (_differing(verification), verification.notes) == ({}, ())


def test_a_scan_with_a_former_default_model_is_verified_with_it(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told none, and that model is still bundled under its name."""
    photos = write_photos(tmp_path / "photos", count=1)
    scan_folder(model, photos, tmp_path / "out", custody=Custody(weights=None))
    (tmp_path / "models" / weights.DEFAULT_MODEL).rename(tmp_path / "models" / model.name)
    monkeypatch.setattr(weights, "DEFAULT_MODEL", "newer")
    write_model(tmp_path / "models" / "newer", seed=1)
    verification = verify_run(tmp_path / "out", sample=1)
    assert (_differing(verification), verification.notes) == ({}, ())


def test_a_run_without_the_models_name_differs(out: Path) -> None:
    """A record that was cut down is told as such, whatever the model was called."""
    model = json.loads((out / "run.json").read_text())["model"]
    _change_run(out, model={key: value for key, value in model.items() if key != "name"})
    assert _differing(verify_run(out, sample=0)) == {"run.json": 1}


def test_weights_with_a_name_that_is_too_long_are_missing(out: Path) -> None:
    """As any that are not there."""
    model = json.loads((out / "run.json").read_text())["model"]
    _change_run(out, model={**model, "weights": "m" * 5000})
    with pytest.raises(WeightsMissingError, match="--weights"):
        verify_run(out, sample=1)


def test_changed_versions_are_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may explain a difference, and are none themselves."""
    run = json.loads((out / "run.json").read_text())
    run["versions"] |= {"torch": "1.0", "opencv": None}
    here = {"torch": "2.0", "opencv": "5.0", "rawpy": None, "newcodec": "3.1"}
    monkeypatch.setattr(run_document, "versions", lambda: here)
    run["versions"]["rawpy"] = "0.28.0"
    (out / "run.json").write_text(json.dumps(run))
    verification = verify_run(out, sample=0)
    assert _differing(verification) == {}
    assert verification.notes == (
        "The scan was made with torch 1.0; here it is 2.0.",
        "The scan was made without opencv; here it is 5.0.",
        "The scan was made with rawpy 0.28.0; it is not installed here.",
        "The scan was made by a version that did not record newcodec; here it is 3.1.",
    )


def test_a_folder_without_a_scan_is_a_missing_input(tmp_path: Path) -> None:
    """Nothing was verified, and nobody is told otherwise."""
    with pytest.raises(MissingInputError, match=r"run\.json"):
        verify_run(tmp_path, sample=0)
