"""Reports made from the folder of a scan."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from nclforensics.errors import MissingInputError, OutputError
from nclforensics.pipelines import report as module
from nclforensics.pipelines.outputs import digest_of, encode_png
from nclforensics.pipelines.report import ScanFolder, write_report
from nclforensics.pipelines.report_pictures import PictureMaker
from tests.scan_runs import HEIGHT, WIDTH, make_quiet_finding, make_skipped, write_run, write_scanned

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.results import ScanFinding


@pytest.fixture
def finding(tmp_path: Path) -> ScanFinding:
    """Return a finding whose photo and outputs lie in tmp_path/photos and tmp_path/out."""
    return write_scanned(tmp_path / "photos", tmp_path / "out", "a.png")


@pytest.fixture
def run(tmp_path: Path, finding: ScanFinding) -> Path:
    """Return the folder of a scan with that finding and a skipped image."""
    inputs = [{"path": str(tmp_path / "photos"), "images": 2}]
    return write_run(tmp_path / "out", [finding, make_skipped()], inputs=inputs)


def _records(page: Path) -> list[dict[str, Any]]:
    (block,) = re.findall(r'id="records">(.*?)</script>', page.read_text(), re.DOTALL)
    records = json.loads(block)
    assert isinstance(records, list)
    return records


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _pixels(content: bytes | None) -> np.ndarray:
    assert content is not None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("kind", ["html", "csv", "json", "pdf"])
def test_a_report_can_be_made_again(run: Path, kind: str) -> None:
    """The same folder gives the same bytes, and nothing but the report is written."""
    before = _names(run)
    target = write_report(ScanFolder(run), kind)
    first = target.read_bytes()
    assert write_report(ScanFolder(run), kind).read_bytes() == first
    assert _names(run) - before == {f"report.{kind}"}


def test_a_page_holds_its_pictures(run: Path) -> None:
    """Photo, outline over it, mask and score map; a skipped image has none."""
    scanned, skipped = _records(write_report(ScanFolder(run), "html"))
    assert set(scanned["pictures"]) == {"photo", "overlay", "mask", "score_map"}
    assert scanned["missing"] == []
    assert skipped["pictures"] == {}


def test_pictures_of_many_images_lie_beside_the_page(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Past the stated number the page stays small, and names files relative to itself."""
    monkeypatch.setattr(module, "INLINE_IMAGES", 1)
    page = write_report(ScanFolder(run), "html", file=tmp_path / "case 7.html")
    pictures = _records(page)[0]["pictures"]
    assert pictures["photo"] == "case%207_files/000001.photo.jpg"
    assert (tmp_path / "case 7_files" / "000001.photo.jpg").is_file()


def test_a_page_with_too_many_images_lists_what_to_see_first(
    finding: ScanFinding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evidence by score, inconclusive and skipped ones, then the rest; numbers stay, and what is missing is told."""
    monkeypatch.setattr(module, "LISTED_IMAGES", 4)
    clean = dataclasses.replace(finding, decision="no localized evidence", image_score=0.9, path="clean.jpg")
    unsure = dataclasses.replace(finding, decision="inconclusive", image_score=0.1, path="unsure.jpg")
    weaker = dataclasses.replace(finding, image_score=0.6, path="weaker.jpg")
    run = write_run(tmp_path / "many", [clean, unsure, weaker, make_skipped(), clean, finding])
    page = write_report(ScanFolder(run), "html")
    assert [record["number"] for record in _records(page)] == [2, 3, 4, 6]
    assert "lists 4 of the 6 images" in page.read_text()
    for limit, numbers in ((3, [2, 3, 6]), (1, [6])):
        monkeypatch.setattr(module, "LISTED_IMAGES", limit)
        assert [record["number"] for record in _records(write_report(ScanFolder(run), "html"))] == numbers


def test_a_photo_that_moved_is_left_out_and_said_to_be(run: Path, tmp_path: Path) -> None:
    """The report does not fail for it; mask and score map are shown without it."""
    (tmp_path / "photos" / "a.png").rename(tmp_path / "elsewhere.png")
    record = _records(write_report(ScanFolder(run), "html"))[0]
    assert set(record["pictures"]) == {"mask", "score_map"}
    assert record["missing"] == ["The photo is not shown: it is no longer where it was scanned."]


def test_a_photo_that_changed_is_never_decoded(
    finding: ScanFinding, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is at its place now is not what was scanned, and may be hostile."""
    with open(finding.path, "ab") as file:  # noqa: PTH123 - a path as text
        file.write(b"x")
    monkeypatch.setattr("nclforensics.pipelines.report_pictures.read_image", pytest.fail)
    pictures = PictureMaker(run, "", side=100).of(finding)
    assert pictures.photo is None
    assert pictures.notes == ("The photo is not shown: the file was changed since the scan.",)


@pytest.mark.parametrize(("name", "field"), [("a.png.mask.png", "mask"), ("a.png.score.png", "score_map")])
def test_an_output_that_changed_is_not_shown(finding: ScanFinding, run: Path, name: str, field: str) -> None:
    """A mask exchanged after the scan must not appear as the scan's."""
    (run / name).write_bytes((run / name).read_bytes() + b"x")
    pictures = PictureMaker(run, "", side=100).of(finding)
    assert getattr(pictures, field) is None
    assert pictures.notes == (f"{name} is not shown: the file is not the one that the scan wrote.",)


def test_a_record_cannot_make_the_report_show_other_files(run: Path, tmp_path: Path) -> None:
    """Names of outputs that leave the folder are not followed, whatever digest stands beside them."""
    outside = write_scanned(tmp_path / "photos", tmp_path / "private", "b.png", mask="../private/b.png.mask.png")
    pictures = PictureMaker(run, "", side=100).of(outside)
    assert pictures.mask is None


def test_pictures_are_reduced_and_upright(finding: ScanFinding, run: Path) -> None:
    """The longest side is bounded, and an orientation tag is honoured in what is shown."""
    turned = write_scanned(run.parent / "photos", run, "a.png", orientation=6)
    pictures = PictureMaker(run, "", side=60).of(turned)
    assert _pixels(pictures.photo).shape == (60, round(60 * HEIGHT / WIDTH), 3)
    mask = _pixels(pictures.mask)
    plain = _pixels(PictureMaker(run, "", side=60).of(finding).mask)
    np.testing.assert_array_equal(mask, np.rot90(plain, -1))


def test_relative_paths_start_where_the_scan_was_run(tmp_path: Path, finding: ScanFinding) -> None:
    """A report made from another folder finds the photos."""
    relative = write_scanned(tmp_path / "photos", tmp_path / "out", "a.png", path="photos/a.png")
    assert relative.sha256 == finding.sha256
    assert PictureMaker(tmp_path / "out", str(tmp_path), side=60).of(relative).photo is not None


def test_the_scale_of_a_score_map_is_fixed(finding: ScanFinding, run: Path) -> None:
    """Score 0 is black and 1 light yellow, however little an image spans."""
    colors = _pixels(PictureMaker(run, "", side=500).of(finding).score_map)
    assert colors[5, 5].max() < 12
    assert (colors[40, 20] > 140).all()  # INFERNO ends in (252, 255, 164)


def test_a_torn_last_record_is_told(run: Path, finding: ScanFinding) -> None:
    """The folder of a killed scan gives a report that says what is missing."""
    with (run / "results.jsonl").open("a") as file:
        file.write('{"schema_version": 2, "status": "sca')
    document = ScanFolder(run).document
    assert any("no readable record" in problem for problem in document.problems)
    assert document.counts["localized evidence"] == 1
    assert next(ScanFolder(run).outcomes()) == finding


def test_records_appended_meanwhile_are_not_mixed_in(run: Path) -> None:
    """A report shows the records that it counted and hashed, also while the scan goes on."""
    folder = ScanFolder(run)
    write_run(run.parent / "more", [make_quiet_finding()])
    with (run / "results.jsonl").open("ab") as file:
        file.write((run.parent / "more" / "results.jsonl").read_bytes())
    assert len(list(folder.outcomes())) == folder.document.recorded == 2


def test_a_report_is_never_written_among_the_evidence(run: Path, tmp_path: Path) -> None:
    """Nor over a record or a mask."""
    for target in (
        tmp_path / "photos" / "report.html",
        run / "results.jsonl",
        run / "run.json",
        run / "a.png.mask.png",
    ):
        with pytest.raises(OutputError):
            write_report(ScanFolder(run), "json", file=target)
    assert _names(tmp_path / "photos") == {"a.png"}


def test_a_photo_is_never_replaced_by_a_report(tmp_path: Path, finding: ScanFinding) -> None:
    """An input named as a file is protected like a folder."""
    run = write_run(tmp_path / "out", [finding], inputs=[{"path": finding.path, "images": 1}])
    with pytest.raises(OutputError, match="among the evidence"):
        write_report(ScanFolder(run), "json", file=tmp_path / "photos" / "a.png")


def test_a_photo_in_the_output_folder_is_never_replaced(tmp_path: Path) -> None:
    """Photos may lie in the scan's own folder; a new name among them is refused as well."""
    photos = tmp_path / "out" / "photos"
    finding = write_scanned(photos, tmp_path / "out", "a.png")
    run = write_run(tmp_path / "out", [finding], inputs=[{"path": str(photos), "images": 1}])
    for target in (photos / "a.png", photos / "new.csv"):
        with pytest.raises(OutputError, match="among the evidence"):
            write_report(ScanFolder(run), "csv", file=target)
    assert _names(photos) == {"a.png"}


@pytest.mark.parametrize("target", ["photos/sub/a.png", "elsewhere/a.png", "other.csv"])
def test_a_photo_behind_a_link_is_never_replaced(tmp_path: Path, target: str) -> None:
    """Whether the report is named by the link's path, by the photo's own, or by a link to the photo."""
    finding = write_scanned(tmp_path / "elsewhere", tmp_path / "out", "a.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "sub").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "other.csv").symlink_to(tmp_path / "elsewhere" / "a.png")
    finding = dataclasses.replace(finding, path=str(tmp_path / "photos" / "sub" / "a.png"))
    run = write_run(tmp_path / "out", [finding], inputs=[{"path": str(tmp_path / "photos"), "images": 1}])
    with pytest.raises(OutputError, match="evidence"):
        write_report(ScanFolder(run), "csv", file=tmp_path / target)
    assert digest_of((tmp_path / "elsewhere" / "a.png").read_bytes()) == finding.sha256
    assert (tmp_path / "other.csv").is_symlink()


@pytest.mark.parametrize("place", ["photos/out", "out"])
def test_an_output_folder_inside_an_input_folder_takes_reports(tmp_path: Path, place: str) -> None:
    """It was put there with --force, or is reached from there by a link."""
    finding = write_scanned(tmp_path / "photos", tmp_path / place, "a.png")
    inputs = [{"path": str(tmp_path / "photos"), "images": 1}]
    write_run(tmp_path / place, [finding], inputs=inputs)
    if place == "out":
        (tmp_path / "photos" / "out").symlink_to(tmp_path / "out")
    folder = ScanFolder(tmp_path / "photos" / "out")
    assert [write_report(folder, "csv").name for _ in range(2)] == ["report.csv", "report.csv"]


@pytest.mark.parametrize("name", ["timings.jsonl", "results.previous-1.jsonl"])
def test_no_file_of_the_scan_is_replaced(run: Path, name: str) -> None:
    """Also not the ones that only a resumed scan needs."""
    (run / name).write_text("kept")
    with pytest.raises(OutputError, match="a file of the scan"):
        write_report(ScanFolder(run), "csv", file=run / name)
    assert (run / name).read_text() == "kept"


def test_pictures_are_not_put_among_the_evidence(tmp_path: Path) -> None:
    """The folder beside a page may be the one that was scanned."""
    finding = write_scanned(tmp_path / "page_files", tmp_path / "out", "a.png")
    inputs = [{"path": str(tmp_path / "page_files"), "images": 1}]
    run = write_run(tmp_path / "out", [finding], inputs=inputs)
    with pytest.raises(OutputError, match="among the evidence"):
        write_report(ScanFolder(run), "html", file=tmp_path / "page.html")
    assert write_report(ScanFolder(run), "csv", file=tmp_path / "page.csv").is_file()


def test_pictures_do_not_replace_photos_that_were_named_one_by_one(tmp_path: Path) -> None:
    """A search for photos may have found those of an earlier page."""
    finding = write_scanned(tmp_path / "page_files", tmp_path / "out", "000001.photo.jpg")
    photo = tmp_path / "page_files" / "000001.photo.jpg"
    content = photo.read_bytes()
    run = write_run(tmp_path / "out", [finding], inputs=[{"path": str(photo), "images": 1}])
    with pytest.raises(OutputError, match=r"would replace .*000001\.photo\.jpg, which is evidence"):
        write_report(ScanFolder(run), "html", file=tmp_path / "page.html")
    assert photo.read_bytes() == content


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_pictures_replace_links_and_not_what_they_lead_to(
    run: Path, tmp_path: Path, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have put them into the folder for pictures."""
    monkeypatch.setattr(module, "INLINE_IMAGES", 0)
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "page_files").mkdir()
    getattr(tmp_path / "page_files" / "000001.photo.jpg", link)(tmp_path / "kept")
    write_report(ScanFolder(run), "html", file=tmp_path / "page.html")
    assert (tmp_path / "kept").read_bytes() == b"kept"
    assert (tmp_path / "page_files" / "000001.photo.jpg").read_bytes().startswith(b"\xff\xd8")


def test_a_name_that_is_too_long_is_an_output_error(run: Path) -> None:
    """It is told like any other name that cannot be written."""
    with pytest.raises(OutputError, match="too long"):
        write_report(ScanFolder(run), "csv", file=run / ("x" * 300))


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    """The error says what was expected and where."""
    with pytest.raises(MissingInputError, match=r"run\.json"):
        ScanFolder(tmp_path)


def test_records_of_another_version_are_no_empty_report(run: Path) -> None:
    """Nothing readable is an error: a page without images would read as a scan without findings."""
    (run / "results.jsonl").write_text('{"schema_version": 1}\n')
    with pytest.raises(MissingInputError, match="No line of"):
        ScanFolder(run)


CALIBRATION = {
    "false_positive_rates": [0.01],
    "thresholds": [0.9],
    "min_region": 0.0,
    "authentic": 100,
    "source": "made up for tests",
}


def _calibrated(**changes: object) -> dict[str, Any]:
    model = {"name": "tiny", "weights": None, "weights_sha256": "f" * 64}
    return {"model": {**model, "calibration": {**CALIBRATION, **changes}}}


def _setting(value: object) -> dict[str, Any]:
    setting = {"value": value, "min_region": 0.0, "false_positive_rate": None, "authentic_images": None}
    return {"threshold": setting}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"threshold": {}}, 'without "value"'),
        ({"host": 3}, "value of another kind"),
        ({"case": 123}, 'for "case", found 123'),
        ({"started": None}, 'expected str for "started"'),
        ({"ended": 5}, 'for "ended"'),
        ({"command": [1]}, 'for "command", found 1'),
        ({"command": "nclf"}, "expected a list"),
        ({"inputs": [{"path": "a", "images": "5"}]}, "expected int"),
        ({"images": True}, "found True"),
        ({"device": ["cpu"]}, 'for "device"'),
        ({"config": {"tile": float("nan")}}, "found nan"),
        ({"config": {"tile": []}}, r"config\.tile"),
        ({"working_folder": "a\0b"}, "zero byte"),
        ({"inputs": [{"path": "a\0b", "images": 1}]}, "zero byte"),
        (_setting("0.9"), "expected float"),
        (_setting(float("inf")), "found inf"),
        (_setting(10**400), "expected float"),
        (_calibrated(authentic="100"), 'expected int for "authentic"'),
        (_calibrated(source=None), 'for "source"'),
        (_calibrated(false_positive_rates=["a"]), "found 'a'"),
        (_calibrated(false_positive_rates=[0.01, 0.05]), "found 1 for 2"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_what_a_run_lacks_for_a_report_is_told(
    finding: ScanFinding, run: Path, change: dict[str, Any], fault: str
) -> None:
    """The file is named, and what is wrong with it."""
    write_run(run, [finding], **change)
    with pytest.raises(MissingInputError, match=rf"run\.json, found a file .*{fault}"):
        ScanFolder(run)


def test_a_report_cut_short_leaves_nothing(run: Path) -> None:
    """Neither half a page nor a temporary file."""

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    before = _names(run)
    with pytest.raises(KeyboardInterrupt):
        write_report(ScanFolder(run), "csv", report=break_off)
    assert _names(run) == before


@pytest.mark.parametrize("kind", ["html", "csv", "json", "pdf"])
def test_an_integer_may_stand_for_a_float(finding: ScanFinding, run: Path, kind: str) -> None:
    """JSON does not tell 1 from 1.0."""
    write_run(run, [finding], **_setting(1))
    assert write_report(ScanFolder(run), kind).is_file()


@pytest.mark.parametrize(
    "change",
    [{"width": 2**40}, {"width": -1}, {"height": 0}, {"mask": "a\0.mask.png"}, {"mask": "\ud800.mask.png"}],
    ids=ascii,
)
def test_a_record_that_no_mask_can_have_shows_none(
    finding: ScanFinding, run: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The page is made, and says what it does not show."""
    inputs = [{"path": str(tmp_path / "photos"), "images": 1}]
    write_run(run, [dataclasses.replace(finding, **change)], inputs=inputs)
    (record,) = _records(write_report(ScanFolder(run), "html"))
    assert "mask" not in record["pictures"]
    assert any(".mask.png is not shown" in note for note in record["missing"])


@pytest.mark.parametrize("path", ["a\0b.jpg", "\ud800.jpg", "no-such-store://a.jpg"], ids=ascii)
def test_a_photo_that_can_be_nowhere_is_left_out(finding: ScanFinding, run: Path, path: str) -> None:
    """As one that moved."""
    write_run(run, [dataclasses.replace(finding, path=path)])
    for kind in ("html", "pdf"):
        assert write_report(ScanFolder(run), kind).is_file()
    (record,) = _records(run / "report.html")
    assert record["missing"][0].startswith("The photo is not shown")


def test_a_photo_of_another_size_than_recorded_is_left_out(tmp_path: Path, run: Path) -> None:
    """Neither is the outline of a mask drawn on it that fits the record only."""
    mask = np.full((4, 4), 255, dtype=np.uint8)
    content = encode_png(mask)
    (run / "b.mask.png").write_bytes(content)
    changes = {"width": 4, "height": 4, "mask": "b.mask.png", "mask_sha256": digest_of(content)}
    finding = write_scanned(tmp_path / "photos", run, "a.png", **changes)
    pictures = PictureMaker(run, "", side=60).of(finding)
    assert (pictures.photo, pictures.overlay) == (None, None)
    assert pictures.mask is not None


@pytest.mark.parametrize("field", ["mask", "overlay", "score_map"])
def test_an_output_of_another_kind_is_not_shown(finding: ScanFinding, run: Path, field: str) -> None:
    """A grey overlay, a mask in colour: nothing that a scan writes, whatever its digest says."""
    suffix = {"mask": ".mask.png", "overlay": ".overlay.png", "score_map": ".score.png"}[field]
    pixels = np.zeros((HEIGHT, WIDTH) if field == "overlay" else (HEIGHT, WIDTH, 3), dtype=np.uint8)
    (run / f"b{suffix}").write_bytes(encode_png(pixels))
    changes: dict[str, Any] = {field: f"b{suffix}", f"{field}_sha256": digest_of(encode_png(pixels)), "regions": ()}
    pictures = PictureMaker(run, "", side=60).of(dataclasses.replace(finding, **changes))
    assert getattr(pictures, field) is None
    assert pictures.notes == (f"b{suffix} is not shown: it is no such picture of the recorded size.",)


@pytest.mark.parametrize("ended", ["never", "0001-01-01"])
def test_a_time_that_is_none_is_shown_as_text(finding: ScanFinding, run: Path, ended: str) -> None:
    """Be it of characters that cannot even be stored, or before the first year."""
    write_run(run, [finding], started="\ud800<b>", ended=ended)
    for kind in ("html", "csv", "json", "pdf"):
        assert write_report(ScanFolder(run), kind).is_file()
    assert r"\ud800&lt;b&gt;" in (run / "report.html").read_text()
