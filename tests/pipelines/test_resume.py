"""A stopped scan is finished as if it had never been stopped, or refused with the reason."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nclforensics.errors import MissingInputError, NclfError, OutputError, UsageError, WeightsMismatchError
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.outputs import digest_of, encode_png, locked
from nclforensics.pipelines.resume import EarlierRecords, parse_line, read_run
from nclforensics.pipelines.run_document import Custody
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from nclforensics.results import OLDER_VERSIONS, ScanFinding, SkippedImage
from tests.factories import make_image
from tests.scan_folders import CONFIG, contents, scan_folder, write_photos
from tests.scan_runs import make_run
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny model."""
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with three photos and a file that is none."""
    folder = write_photos(tmp_path / "photos")
    (folder / "none.jpg").write_bytes(b"not a photo")
    return folder


@pytest.fixture
def complete(model: LoadedModel, photos: Path, tmp_path: Path) -> dict[str, bytes]:
    """Return what an uninterrupted scan leaves."""
    scan_folder(model, photos, tmp_path / "complete")
    return contents(tmp_path / "complete")


@pytest.fixture
def localized(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list that grows by the shape of each image that the network sees."""
    shapes: list[tuple[int, ...]] = []
    localize = Localizer.localize_with_copies

    def counting(self: Localizer, image: NDArray[Any]) -> Localization:
        shapes.append(image.shape)
        return localize(self, image)

    monkeypatch.setattr(Localizer, "localize_with_copies", counting)
    return shapes


def _stopped(model: LoadedModel, photos: Path, out: Path, *, after: int) -> None:
    """Scan some images of a folder, then stop."""
    outcomes = scan_images(plan_scan([photos], out=out), model, CONFIG)
    list(islice(outcomes, after))
    outcomes.close()


def _run(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "run.json").read_text())
    return document


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_a_resumed_scan_leaves_what_an_uninterrupted_one_does(
    model: LoadedModel, photos: Path, tmp_path: Path, complete: dict[str, bytes], after: int
) -> None:
    """The same files with the same bytes, and records in the same order; nothing is left over."""
    _stopped(model, photos, tmp_path / "out", after=after)
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == complete
    assert _run(tmp_path / "out")["status"] == "finished"


def test_a_scan_killed_before_it_wrote_anything_is_begun(
    model: LoadedModel, photos: Path, tmp_path: Path, complete: dict[str, bytes]
) -> None:
    """`--resume` can always be given: an empty folder is a scan of which nothing is done."""
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == complete
    assert _run(tmp_path / "out")["resumed"] == []


def test_a_finished_scan_is_not_computed_again(
    model: LoadedModel, photos: Path, tmp_path: Path, localized: list[tuple[int, ...]]
) -> None:
    """Its findings are read back; skipped files are tried again, since what was wrong may be over."""
    first = scan_folder(model, photos, tmp_path / "out")
    localized.clear()
    second = scan_folder(model, photos, tmp_path / "out", resume=True)
    assert second == first
    assert localized == []
    assert _run(tmp_path / "out")["resumed"][0]["records_kept"] == 3


@pytest.mark.parametrize("keep", [1, 40, -1], ids=["first byte", "some bytes", "all but the newline"])
def test_a_torn_last_line_is_scanned_again(
    model: LoadedModel, photos: Path, tmp_path: Path, complete: dict[str, bytes], keep: int
) -> None:
    """It is not trusted, even where only its newline is missing, and run.json tells its length."""
    scan_folder(model, photos, tmp_path / "out")
    first, second, *_ = complete["results.jsonl"].splitlines(keepends=True)
    (tmp_path / "out" / "results.jsonl").write_bytes(first + second[:keep])
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == complete
    note = _run(tmp_path / "out")["resumed"][0]
    assert (note["torn_bytes"], note["records_kept"]) == (len(second[:keep]), 1)


def _replace_photo(photos: Path, _: Path) -> None:
    (photos / "1.png").write_bytes(encode_png(make_image(99, 80, seed=9)))


def _damage_mask(_: Path, out: Path) -> None:
    mask = out / "1.png.mask.png"
    mask.write_bytes(mask.read_bytes()[:-1] + b"x")


def _remove_mask(_: Path, out: Path) -> None:
    (out / "1.png.mask.png").unlink()


def _edit_record(_: Path, out: Path) -> None:
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace('"format": "PNG"', '"format":"PNG"')
    (out / "results.jsonl").write_text("".join(lines))


def _age_record(_: Path, out: Path) -> None:
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    lines[1] = as_version(lines[1], 2)
    (out / "results.jsonl").write_text("".join(lines))


def as_version(line: str, version: int) -> str:
    """Return a record as it was written before levels were measured, and, for version 2, before there were copies."""
    record = json.loads(line) | {"schema_version": version}
    if version == 2:
        del record["copies"]
    del record["quality"]["level_unevenness"], record["quality"]["levels_changed"]
    return json.dumps(record) + "\n"


@pytest.mark.parametrize("version", OLDER_VERSIONS)
def test_a_line_of_a_version_before_is_read(complete: dict[str, bytes], version: int) -> None:
    """By the report and the verification; exactly as it was written, or not at all."""
    line = complete["results.jsonl"].splitlines(keepends=True)[0].decode()
    older, finding = as_version(line, version), parse_line(line.encode())
    assert isinstance(finding, ScanFinding)
    assert finding.quality is not None
    quality = dataclasses.replace(finding.quality, level_unevenness=None, levels_changed=False)
    assert parse_line(older.encode()) == dataclasses.replace(finding, quality=quality)
    assert parse_line(older.replace('"format": "PNG"', '"format":"PNG"').encode()) is None


@pytest.mark.parametrize(
    "change",
    [_replace_photo, _damage_mask, _remove_mask, _edit_record, _age_record],
    ids=["input changed", "mask damaged", "mask gone", "record edited", "record of the version before"],
)
def test_what_no_longer_holds_is_scanned_again(
    model: LoadedModel,
    photos: Path,
    tmp_path: Path,
    localized: list[tuple[int, ...]],
    change: Callable[[Path, Path], None],
) -> None:
    """Only that one image, and the folder is that of a fresh scan afterwards."""
    scan_folder(model, photos, tmp_path / "out")
    change(photos, tmp_path / "out")
    localized.clear()
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert len(localized) == 1
    scan_folder(model, photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_photo_that_became_unreadable_loses_its_mask(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """No output for a skipped file, also if it was scanned before."""
    scan_folder(model, photos, tmp_path / "out")
    (photos / "1.png").write_bytes(b"no photo any more")
    outcomes = scan_folder(model, photos, tmp_path / "out", resume=True)
    assert isinstance(outcomes[1], SkippedImage)
    assert not (tmp_path / "out" / "1.png.mask.png").exists()


def test_a_photo_that_is_gone_loses_record_and_mask(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The folder describes the inputs as they are now, and run.json tells that there were more."""
    scan_folder(model, photos, tmp_path / "out")
    (photos / "1.png").unlink()
    scan_folder(model, photos, tmp_path / "out", resume=True)
    scan_folder(model, photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    run = _run(tmp_path / "out")
    assert (run["resumed"][0]["images_before"], run["images"]) == (4, 3)


def test_files_that_are_not_ours_are_never_removed(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A record can name any file: one outside the folder, or with other bytes, stays."""
    scan_folder(model, photos, tmp_path / "out")
    (tmp_path / "mine.mask.png").write_bytes(b"mine")
    (tmp_path / "out" / "1.png.mask.png").write_bytes(b"mine too")
    records = tmp_path / "out" / "results.jsonl"
    digest = digest_of(b"mine")
    record = json.loads(records.read_text().splitlines()[1])
    hostile = {**record, "path": "gone", "mask": "../mine.mask.png", "mask_sha256": digest}
    with records.open("a") as file:
        file.write(json.dumps(hostile) + "\n")
    (photos / "1.png").unlink()
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert (tmp_path / "mine.mask.png").read_bytes() == b"mine"
    assert (tmp_path / "out" / "1.png.mask.png").read_bytes() == b"mine too"


def test_files_that_no_scan_wrote_stay_beside_a_photo_that_is_scanned_again(
    model: LoadedModel, photos: Path, tmp_path: Path
) -> None:
    """They have the name of an output that this scan was not asked for."""
    scan_folder(model, photos, tmp_path / "out")
    (tmp_path / "out" / "1.png.score.png").write_bytes(b"mine")
    _replace_photo(photos, tmp_path)
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "1.png.score.png").read_bytes() == b"mine"


def test_a_mask_without_a_record_does_not_outlive_its_photo(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A killed scan had written it, but not the record; by now the photo cannot be read."""
    scan_folder(model, photos, tmp_path / "out")
    records = tmp_path / "out" / "results.jsonl"
    records.write_bytes(records.read_bytes().splitlines(keepends=True)[0])
    (photos / "1.png").write_bytes(b"no photo any more")
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert not (tmp_path / "out" / "1.png.mask.png").exists()


def test_half_written_files_of_a_killed_scan_are_removed(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """They have names of their own and are nobody's results."""
    _stopped(model, photos, tmp_path / "out", after=1)
    (tmp_path / "out" / ".nclf-0123456789abcdef.tmp").write_bytes(b"half")
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert not list((tmp_path / "out").glob(".nclf-*"))


def test_a_scan_can_be_stopped_while_it_is_resumed(
    model: LoadedModel, photos: Path, tmp_path: Path, complete: dict[str, bytes], localized: list[tuple[int, ...]]
) -> None:
    """Records that had not had their turn are not lost: nothing is computed twice."""
    scan_folder(model, photos, tmp_path / "out")
    localized.clear()
    for _ in range(2):
        outcomes = scan_images(plan_scan([photos], out=tmp_path / "out", resume=True), model, CONFIG)
        next(outcomes)
        outcomes.close()
    scan_folder(model, photos, tmp_path / "out", resume=True)
    assert localized == []
    assert contents(tmp_path / "out") == complete
    assert len(_run(tmp_path / "out")["resumed"]) == 3


def test_other_settings_are_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The message names what was and what is, and the records stay as they were."""
    _stopped(model, photos, tmp_path / "out", after=1)
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match="begun with tile 6400; now it is tile 1024"):
        scan_folder(model, photos, tmp_path / "out", resume=True, config=dataclasses.replace(CONFIG, tile=1024))
    assert contents(tmp_path / "out") == before


def test_other_weights_are_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Half of a folder by one model and half by another would be nobody's result."""
    _stopped(model, photos, tmp_path / "out", after=1)
    with pytest.raises(WeightsMismatchError, match="begun with weights of sha256"):
        scan_folder(dataclasses.replace(model, sha256="0" * 64), photos, tmp_path / "out", resume=True)


def test_other_versions_are_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Another version of a library may decode or compute other values."""
    _stopped(model, photos, tmp_path / "out", after=1)
    run = _run(tmp_path / "out")
    run["versions"]["opencv"] = "3.0"
    (tmp_path / "out" / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match=r"opencv 3\.0"):
        scan_folder(model, photos, tmp_path / "out", resume=True)


def test_another_case_is_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A folder belongs to one case; who resumes it may be somebody else, and is named."""
    custody = Custody(case="A", operator="first")
    outcomes = scan_images(plan_scan([photos], out=tmp_path / "out"), model, CONFIG, custody=custody)
    next(outcomes)
    outcomes.close()
    with pytest.raises(UsageError, match="case 'A', and was to be gone on with for 'B'"):
        scan_folder(model, photos, tmp_path / "out", resume=True, custody=Custody(case="B"))
    scan_folder(model, photos, tmp_path / "out", resume=True, custody=Custody(operator="second"))
    run = _run(tmp_path / "out")
    assert (run["case"], run["operator"], run["resumed"][0]["operator"]) == ("A", "first", "second")


def test_a_case_for_a_scan_without_one_is_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The message does not speak of a case named None."""
    _stopped(model, photos, tmp_path / "out", after=1)
    with pytest.raises(UsageError, match="has no case"):
        scan_folder(model, photos, tmp_path / "out", resume=True, custody=Custody(case="B"))


def test_other_inputs_are_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """What was found in one folder is not removed because somebody goes on with another one."""
    scan_folder(model, photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match="photos, not named now"):
        scan_folder(model, write_photos(tmp_path / "others"), tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == before


def test_an_input_that_is_gone_need_not_be_named(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """As a file that was removed from a folder: a list of paths is made anew by whoever goes on with a scan."""
    paths = sorted(path for path in photos.rglob("*") if path.is_file())
    list(scan_images(plan_scan(paths, out=tmp_path / "out"), model, CONFIG))
    with pytest.raises(UsageError, match="not named now"):
        list(scan_images(plan_scan(paths[1:], out=tmp_path / "out", resume=True), model, CONFIG))
    paths[0].unlink()
    found = list(scan_images(plan_scan(paths[1:], out=tmp_path / "out", resume=True), model, CONFIG))
    assert len(found) == len(paths) - 1


def test_the_same_name_in_another_working_folder_is_another_input(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path names what lies below the folder that the scan was started in; its absolute path is the same."""
    for case in ("a", "b"):
        write_photos(tmp_path / case / "photos", count=1)
    monkeypatch.chdir(tmp_path / "a")
    scan_folder(model, Path("photos"), tmp_path / "out")
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(UsageError, match="not named now"):
        scan_folder(model, Path("photos"), tmp_path / "out", resume=True)
    scan_folder(model, tmp_path / "a" / "photos", tmp_path / "out", resume=True)


def test_inputs_may_be_added(
    model: LoadedModel, photos: Path, tmp_path: Path, localized: list[tuple[int, ...]]
) -> None:
    """Nothing is lost by it: what is there already is kept, and run.json names all of them."""
    scan_folder(model, photos, tmp_path / "out")
    localized.clear()
    plan = plan_scan([photos, write_photos(tmp_path / "others", count=1)], out=tmp_path / "out", resume=True)
    assert len(list(scan_images(plan, model, CONFIG))) == 5
    assert len(localized) == 1
    assert [item["images"] for item in _run(tmp_path / "out")["inputs"]] == [4, 1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000], ids=repr)
def test_records_without_a_readable_run_are_refused(
    model: LoadedModel, photos: Path, tmp_path: Path, content: bytes
) -> None:
    """Nobody knows which settings they were made with."""
    _stopped(model, photos, tmp_path / "out", after=1)
    (tmp_path / "out" / "run.json").write_bytes(content)
    with pytest.raises(MissingInputError, match=r"run\.json"):
        scan_folder(model, photos, tmp_path / "out", resume=True)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ("[]", "holds no JSON object"),
        ('{"case": null}', 'without "operator"'),
        (json.dumps({**make_run([]), "config": "x"}), "\"config\" is 'x'"),
        (json.dumps({**make_run([]), "model": {}}), 'without "weights_sha256" in "model"'),
    ],
    ids=["torn", "list", "key", "kind", "model"],
)
def test_what_is_wrong_with_a_run_is_told(tmp_path: Path, content: str, fault: str) -> None:
    """And what can be done about it."""
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(MissingInputError, match=rf"run\.json, found a file .*{re.escape(fault)}.*\. Put back the file"):
        read_run(tmp_path)


def test_two_scans_at_once_are_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Who believes a scan dead that still runs does not break its folder."""
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="Another scan is writing"):
        scan_folder(model, photos, tmp_path / "out", resume=True)
    scan_folder(model, photos, tmp_path / "out", resume=True)


@settings(max_examples=150)
@given(st.data())
def test_no_contents_of_the_records_can_break_the_resume(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever stands in results.jsonl: lines are records of ours or are counted as unreadable; no other error."""
    valid = _LINE
    position = data.draw(st.integers(0, len(valid)))
    rest = valid[data.draw(st.integers(position, len(valid))) :]
    damaged = valid[:position] + data.draw(st.binary(max_size=30)) + rest
    out = tmp_path_factory.mktemp("out")
    (out / "results.jsonl").write_bytes(valid + damaged + valid[: data.draw(st.integers(0, len(valid)))])
    try:
        records = EarlierRecords(out)
    except NclfError:
        raise AssertionError("a damaged line is no reason to refuse the rest") from None
    assert len(records) >= 1
    assert sum(parse_line(line) is not None for line in damaged.splitlines(keepends=True)) <= len(records) + 1


_LINE = (
    json.dumps(SkippedImage(path="a", reason="b", error="c", sha256=None, size_bytes=3).to_record()).encode() + b"\n"
)
