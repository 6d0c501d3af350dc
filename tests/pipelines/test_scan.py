"""The scan: every input becomes a record, and evidence stays as it is."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from nclforensics.config import ScanConfig
from nclforensics.data.quality.block_grid import BlockGrid
from nclforensics.errors import MissingInputError, OutputError, UsageError
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import examination, scan_engine
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.outputs import encode_png
from nclforensics.pipelines.resume import parse_line
from nclforensics.pipelines.run_document import Custody, describe_threshold
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import digest_of_paths, plan_scan
from nclforensics.results import ScanFinding, SkippedImage
from tests.factories import make_image
from tests.textures import make_texture, saved
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CONFIG = ScanConfig(device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny model."""
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with one photo, one below it, and one that is no image."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(encode_png(make_image(80, 96, seed=1)))
    (folder / "sub" / "a.png").write_bytes(encode_png(make_image(72, 64, seed=2)))
    (folder / "b.jpg").write_text("not an image")
    return folder


def _scan(
    model: LoadedModel, inputs: list[Path], out: Path, *, config: ScanConfig = CONFIG, force: bool = False
) -> list[ScanFinding | SkippedImage]:
    return list(scan_images(plan_scan(inputs, out=out, force=force), model, config))


def _only(model: LoadedModel, path: Path, out: Path, *, config: ScanConfig = CONFIG) -> ScanFinding:
    (finding,) = _scan(model, [path], out, config=config)
    assert isinstance(finding, ScanFinding)
    return finding


def _decoded(path: Path) -> NDArray[Any]:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_output_tree_mirrors_the_input(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Each readable photo has a mask at its own place; nothing else is written, no temporary file remains."""
    _scan(model, [photos], tmp_path / "out")
    records = {"results.jsonl", "run.json", "timings.jsonl"}
    assert set(_contents(tmp_path / "out")) == {"a.png.mask.png", "sub/a.png.mask.png", *records}


def test_a_mask_has_the_size_of_its_photo(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Masks are on the input's own pixel grid, one channel, 0 and 255 only."""
    _scan(model, [photos], tmp_path / "out")
    mask = _decoded(tmp_path / "out" / "sub" / "a.png.mask.png")
    assert mask.shape == (72, 64)
    assert set(np.unique(mask)) <= {0, 255}


def test_mask_and_finding_agree(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Share, regions, decision, score and digest of the record describe the mask on disk."""
    scores = Localizer(model.network, device=torch.device("cpu")).localize(make_image(80, 96, seed=1))
    config = dataclasses.replace(CONFIG, threshold=float(np.median(scores)))
    finding = _only(model, photos / "a.png", tmp_path / "out", config=config)
    mask = _decoded(tmp_path / "out" / finding.mask) > 0
    assert 0 < mask.mean() < 1
    assert finding.decision == "localized evidence"
    assert finding.tampered_share == mask.mean()
    assert sum(region.area for region in finding.regions) == mask.sum()
    assert finding.image_score > finding.threshold
    assert finding.mask_sha256 == hashlib.sha256((tmp_path / "out" / finding.mask).read_bytes()).hexdigest()


@pytest.mark.parametrize("threshold", [0.0, 0.999])
def test_an_avif_is_inconclusive(model: LoadedModel, tmp_path: Path, threshold: float) -> None:
    """Its regions are in mask and record all the same; the same pixels in a PNG are judged."""
    Image.fromarray(make_image(80, 96, seed=1)).save(tmp_path / "a.avif", quality=95)
    with Image.open(tmp_path / "a.avif") as image:
        image.save(tmp_path / "a.png")
    config = dataclasses.replace(CONFIG, threshold=threshold)
    avif = _only(model, tmp_path / "a.avif", tmp_path / "avif", config=config)
    png = _only(model, tmp_path / "a.png", tmp_path / "png", config=config)
    assert (avif.format, avif.decision) == ("AVIF", "inconclusive")
    assert "stored as AVIF" in str(avif.reason)
    assert "stored as AVIF" not in str(png.reason)
    assert avif.regions == png.regions


def test_nothing_above_the_threshold_is_no_localized_evidence(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The mask is empty and the wording is neutral; the score still tells how near it was."""
    finding = _only(model, photos / "a.png", tmp_path / "out", config=dataclasses.replace(CONFIG, threshold=0.999))
    assert not _decoded(tmp_path / "out" / finding.mask).any()
    assert (finding.decision, finding.regions) == ("no localized evidence", ())
    assert 0 < finding.image_score < finding.threshold


def test_a_small_image_is_inconclusive(model: LoadedModel, tmp_path: Path) -> None:
    """Below 64 pixels a side neither outcome is claimed, and the reason says so."""
    (tmp_path / "small.png").write_bytes(encode_png(make_image(63, 200)))
    finding = _only(model, tmp_path / "small.png", tmp_path / "out")
    assert finding.decision == "inconclusive"
    assert "200 x 63" in str(finding.reason)


def test_a_cropped_jpeg_is_noted(model: LoadedModel, tmp_path: Path) -> None:
    """Its grid starts elsewhere than at its corner: an examiner wants to know, whatever was found."""
    photo = saved(make_texture(), 75)
    expected = {0: [], 3: ["JPEG blocks start at row 5, column 5, as after a crop: analysed on that grid"]}
    for start, noted in expected.items():
        path = tmp_path / f"{start}.png"
        path.write_bytes(encode_png(np.ascontiguousarray(photo[start:, start:])))
        finding = _only(model, path, tmp_path / f"masks{start}")
        assert [note for note in finding.notes if "JPEG blocks" in note] == noted


def test_a_resized_jpeg_is_noted(model: LoadedModel, tmp_path: Path) -> None:
    """By how much, each way; its mask has the size of the file as always."""
    photo = cv2.resize(saved(make_texture(384, 320), 75), (400, 480), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "resized.png").write_bytes(encode_png(np.asarray(photo, np.uint8)))
    finding = _only(model, tmp_path / "resized.png", tmp_path / "masks")
    expected = "JPEG blocks were resized, 1.250 x 1.250, after a saving: analysed at the size they had"
    assert [note for note in finding.notes if "JPEG blocks" in note] == [expected]
    assert _decoded(tmp_path / "masks" / finding.mask).shape == (480, 400)


@pytest.mark.parametrize(("largest", "noted"), [(100, True), (1_000_000, False)])
def test_highlights_left_out_of_a_much_larger_photo_are_noted(
    model: LoadedModel, tmp_path: Path, largest: int, *, noted: bool
) -> None:
    """With their share; and where something was found, that the rate of false alarms was measured on smaller photos."""
    photo = np.minimum(make_texture(160, 200), 200)
    photo[:16, :16] = 255
    (tmp_path / "bright.png").write_bytes(encode_png(photo))
    calibration, network = dataclasses.replace(model.calibration, largest_pixels=largest), copy.deepcopy(model.network)
    network.calibrated_pixels = largest
    calibrated = dataclasses.replace(model, network=network, calibration=calibration)
    finding = _only(calibrated, tmp_path / "bright.png", tmp_path / "out")
    expected = ["Blown-out highlights, 0.8% of the image, hold no traces: left out"] if noted else []
    assert [note for note in finding.notes if "highlights" in note] == expected
    assert finding.decision == "localized evidence"
    assert ("megapixels" in str(finding.reason)) == noted


def test_an_unreadable_file_is_a_record(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A text file named .jpg is skipped with its reason and digest; the others are scanned."""
    outcomes = _scan(model, [photos], tmp_path / "out")
    (skipped,) = (outcome for outcome in outcomes if isinstance(outcome, SkippedImage))
    assert len(outcomes) == 3
    assert skipped.path == str(photos / "b.jpg")
    assert "no known format" in skipped.reason
    assert skipped.sha256 == hashlib.sha256(b"not an image").hexdigest()


@pytest.mark.parametrize("keep", [0, 10, 0.5], ids=["empty", "header", "half"])
def test_a_truncated_photo_is_skipped(model: LoadedModel, tmp_path: Path, keep: float) -> None:
    """A file cut short does not become a finding about half a photo."""
    done, jpeg = cv2.imencode(".jpg", make_image(200, 200))
    assert done
    content = jpeg.tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    (outcome,) = _scan(model, [path], tmp_path / "out")
    assert isinstance(outcome, SkippedImage)


def test_every_line_of_the_results_is_the_record(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """results.jsonl holds what was yielded, in order, and reads back as JSON."""
    outcomes = _scan(model, [photos], tmp_path / "out")
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(json.dumps(o.to_record())) for o in outcomes]


def test_a_record_is_on_disk_before_the_next_image(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A killed scan loses at most the image in flight, and its run.json does not claim that it finished."""
    outcomes = scan_images(plan_scan([photos], out=tmp_path / "out"), model, CONFIG)
    first = next(outcomes)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    outcomes.close()
    ended = json.loads((tmp_path / "out" / "run.json").read_text())
    assert json.loads(lines[0])["path"] == first.path
    assert (run["status"], run["ended"], ended["status"]) == ("running", None, "interrupted")


def test_the_run_record_names_weights_versions_and_counts(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Who reads run.json later knows which model computed the masks, with which settings."""
    _scan(model, [photos], tmp_path / "out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["model"]["weights_sha256"] == model.sha256
    assert run["status"] == "finished"
    assert sum(run["counts"].values()) == 3
    assert run["threshold"] == {
        "value": 0.05,
        "min_region": 0.005,
        "false_positive_rate": 0.05,
        "authentic_images": 100,
    }
    assert (run["images"], run["inputs"]) == (3, [{"path": str(photos), "images": 3}])
    assert run["images_sha256"] == digest_of_paths(str(photos / name) for name in ("a.png", "b.jpg", "sub/a.png"))
    assert run["versions"]["torch"] == torch.__version__
    assert run["host"]["name"]
    assert run["started"].endswith("+00:00")
    assert run["started"] <= run["ended"]


def test_the_run_record_holds_what_the_user_states(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Case, operator, command line and the model as it was named."""
    custody = Custody(command=("nclf", "scan"), case="2026-117", operator="A. Examiner", weights="mine")
    list(scan_images(plan_scan([photos], out=tmp_path / "out"), model, CONFIG, custody=custody))
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    stated = (run["command"], run["case"], run["operator"], run["model"]["weights"])
    assert stated == (["nclf", "scan"], "2026-117", "A. Examiner", "mine")


def test_times_stand_beside_the_records(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """When each image was recorded and how long it took is in timings.jsonl, so that results.jsonl can be repeated."""
    outcomes = _scan(model, [photos], tmp_path / "out")
    timings = [json.loads(line) for line in (tmp_path / "out" / "timings.jsonl").read_text().splitlines()]
    assert [timing["path"] for timing in timings] == [outcome.path for outcome in outcomes]
    assert all(timing["seconds"] > 0 and timing["recorded"].endswith("+00:00") for timing in timings)


def test_no_error_rate_is_claimed_for_a_setting_that_was_not_measured(model: LoadedModel) -> None:
    """Another region size makes the calibrated rate void, as another threshold and another precision do."""
    other_region = describe_threshold(model, dataclasses.replace(CONFIG, min_region=0.01))
    other_threshold = describe_threshold(model, dataclasses.replace(CONFIG, threshold=0.3))
    other_precision = describe_threshold(model, dataclasses.replace(CONFIG, precision="bf16"))
    others = (other_region, other_threshold, other_precision)
    assert [other["false_positive_rate"] for other in others] == [None, None, None]


def test_a_score_in_another_precision_means_nothing_known(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The record says why."""
    finding = _only(model, photos / "a.png", tmp_path / "out", config=dataclasses.replace(CONFIG, precision="bf16"))
    assert finding.score_meaning is not None
    assert "calibrated in fp32, and this is bf16" in finding.score_meaning.text


def test_two_scans_give_the_same_bytes(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Same input, weights and device: files and records are equal byte for byte; only times differ."""
    config = dataclasses.replace(CONFIG, overlay=True, score_map=True)
    for name in ("first", "second"):
        _scan(model, [photos], tmp_path / name, config=config)
    first, second = (
        {k: v for k, v in _contents(tmp_path / n).items() if k not in {"run.json", "timings.jsonl"}}
        for n in ("first", "second")
    )
    assert len(first) == 7
    assert first == second


def test_the_number_of_threads_does_not_change_the_bytes(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with one core computes what one with many does, and the caller's number of threads is put back."""
    monkeypatch.setattr(examination, "FEWEST_THREADS", 2)
    before = torch.get_num_threads()
    digests = set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        config = dataclasses.replace(CONFIG, score_map=True)
        digests.add(_only(model, photos / "a.png", tmp_path / str(threads), config=config).score_map_sha256)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert len(digests) == 1


def test_inputs_are_not_touched(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Content, number and times of the evidence files stay as they were."""
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in photos.rglob("*")}
    contents = _contents(photos)
    _scan(model, [photos], tmp_path / "out")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in photos.rglob("*")} == before
    assert _contents(photos) == contents


def test_a_file_that_vanishes_meanwhile_is_skipped(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a reason in words, not in the number of an error."""
    localize = Localizer.localize_with_copies

    def removing(self: Localizer, image: NDArray[np.uint8]) -> Localization:
        (photos / "a.png").unlink()
        return localize(self, image)

    monkeypatch.setattr(Localizer, "localize_with_copies", removing)
    (outcome,) = _scan(model, [photos / "a.png"], tmp_path / "out")
    assert isinstance(outcome, SkippedImage)
    assert outcome.reason == f"Cannot read {photos / 'a.png'} again after it was scanned: No such file or directory."


def test_a_file_that_changes_meanwhile_is_skipped(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding is about the file with the digest beside it, or there is none."""
    localize = Localizer.localize_with_copies

    def tampering(self: Localizer, image: NDArray[np.uint8]) -> Localization:
        (photos / "a.png").write_bytes(b"other")
        return localize(self, image)

    monkeypatch.setattr(Localizer, "localize_with_copies", tampering)
    (outcome,) = _scan(model, [photos / "a.png"], tmp_path / "out")
    assert isinstance(outcome, SkippedImage)
    assert "changed while" in outcome.reason
    assert not (tmp_path / "out" / "a.png.mask.png").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        cv2.error("(-4:Insufficient memory) Failed to allocate 8000000000 bytes in function 'OutOfMemoryError'"),
    ],
    ids=["python", "torch", "opencv"],
)
def test_an_image_too_large_for_the_memory_is_skipped(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The run goes on, and the reason names the option that helps."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Localizer, "localize_with_copies", fail)
    (outcome,) = _scan(model, [photos / "a.png"], tmp_path / "out")
    assert isinstance(outcome, SkippedImage)
    assert "--tile" in outcome.reason


def test_a_bug_is_not_taken_for_a_bad_image(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours ends the run, and run.json says that it failed."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Localizer, "localize_with_copies", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        _scan(model, [photos / "a.png"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


def test_scores_that_are_no_numbers_are_no_finding(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty mask made of NaN would read as "no localized evidence"."""
    nothing = Localization(np.full((80, 96), np.nan, np.float32), (), BlockGrid.starting_at(0, 0), 1)
    monkeypatch.setattr(Localizer, "localize_with_copies", lambda *_: nothing)
    (outcome,) = _scan(model, [photos / "a.png"], tmp_path / "out")
    assert isinstance(outcome, SkippedImage)


def test_too_many_pixels_are_skipped(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A decompression bomb is refused by its header."""
    (outcome,) = _scan(model, [photos / "a.png"], tmp_path / "out", config=dataclasses.replace(CONFIG, max_pixels=100))
    assert isinstance(outcome, SkippedImage)
    assert "100" in outcome.reason


def test_pictures_are_written_on_request(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The overlay is in colour, the score map has 16 bits, both at the photo's size."""
    config = dataclasses.replace(CONFIG, overlay=True, score_map=True)
    finding = _only(model, photos / "a.png", tmp_path / "out", config=config)
    overlay = _decoded(tmp_path / "out" / str(finding.overlay))
    score_map = _decoded(tmp_path / "out" / str(finding.score_map))
    assert overlay.shape == (80, 96, 3)
    assert (score_map.shape, score_map.dtype.name) == ((80, 96), "uint16")


def test_the_mask_is_the_thresholded_score_map(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Where the mask is set the stored score is above the threshold."""
    finding = _only(model, photos / "a.png", tmp_path / "out", config=dataclasses.replace(CONFIG, score_map=True))
    scores = _decoded(tmp_path / "out" / str(finding.score_map)) / 65535
    mask = _decoded(tmp_path / "out" / finding.mask) > 0
    assert scores[mask].min() >= finding.threshold - 1 / 65535


def test_a_file_named_itself_is_tried_whatever_its_suffix(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Evidence often has no suffix; in a folder only image suffixes count."""
    (photos / "a.png").rename(photos / "exhibit")
    assert _only(model, photos / "exhibit", tmp_path / "out").mask == "exhibit.mask.png"
    assert [image.name for image in plan_scan([photos], out=tmp_path / "out2").images] == ["b.jpg", "sub/a.png"]


def test_results_of_an_earlier_scan_are_kept(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """A second scan into the same folder is refused, with what to do."""
    _scan(model, [photos], tmp_path / "out")
    with pytest.raises(OutputError, match="--force"):
        plan_scan([photos], out=tmp_path / "out")


def test_a_scan_that_another_one_overtook_is_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Both were planned for an empty folder: who comes second does not replace what the first one found."""
    plan = plan_scan([photos], out=tmp_path / "out")
    _scan(model, [photos / "a.png"], tmp_path / "out")
    before = _contents(tmp_path / "out")
    with pytest.raises(OutputError, match="holds the results of an earlier scan"):
        list(scan_images(plan, model, CONFIG))
    assert _contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["a.png.mask.png", "a.png.overlay.png", "run.json", "timings.jsonl"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_file_of_somebody_else_is_not_replaced(
    model: LoadedModel, photos: Path, tmp_path: Path, name: str, *, resume: bool
) -> None:
    """It is named, nothing is written; `--resume` has nothing to go on with and changes nothing about it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"mine")
    plan = plan_scan([photos / "a.png"], out=out, resume=resume)
    with pytest.raises(MissingInputError if resume and name == "run.json" else OutputError, match=name):
        list(scan_images(plan, model, dataclasses.replace(CONFIG, overlay=True)))
    assert _contents(out) == {name: b"mine"}


@pytest.mark.parametrize("name", ["results.jsonl", "timings.jsonl"])
def test_a_link_in_the_output_folder_leads_to_nothing_that_is_overwritten(
    model: LoadedModel, photos: Path, tmp_path: Path, name: str
) -> None:
    """Not by force, not by going on with a scan; and a link to nothing is somebody else's file."""
    evidence, out = tmp_path / "evidence.jpg", tmp_path / "out"
    evidence.write_bytes(b"mine")
    plan = plan_scan([photos / "a.png"], out=out)
    list(scan_images(plan, model, CONFIG))
    for force in (True, False):
        if name == "timings.jsonl" or force:
            (out / name).unlink()
            (out / name).symlink_to(evidence)
        list(scan_images(plan_scan([photos / "a.png"], out=out, force=force, resume=not force), model, CONFIG))
        assert evidence.read_bytes() == b"mine"
        assert not (out / name).is_symlink()
    other = tmp_path / "other"
    other.mkdir()
    (other / name).symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match=name):
        list(scan_images(plan_scan([photos / "a.png"], out=other), model, CONFIG))
    assert not (tmp_path / "nothing").exists()


def test_a_forced_scan_removes_only_what_is_recorded(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """The earlier score map goes, although this scan writes none; a file that no scan wrote stays."""
    out = tmp_path / "out"
    _scan(model, [photos / "a.png"], out, config=dataclasses.replace(CONFIG, score_map=True))
    (out / "a.png.overlay.png").write_bytes(b"mine")
    plan = plan_scan([photos / "a.png"], out=out, force=True)
    list(scan_images(plan, model, CONFIG))
    assert not (out / "a.png.score.png").exists()
    assert (out / "a.png.overlay.png").read_bytes() == b"mine"


def test_a_forced_scan_removes_what_a_killed_one_left(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Files without a record yet, of a run that says that it was not finished: nclf verify would not know them."""
    out = tmp_path / "out"
    _scan(model, [photos], out, config=dataclasses.replace(CONFIG, overlay=True))
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(lines[0])
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, "status": "running"}))
    _scan(model, [photos], out, force=True)
    assert not list(out.rglob("*.overlay.png"))
    assert len(list(out.rglob("*.mask.png"))) == 2


@pytest.mark.parametrize("change", [{"min_region": 0.01}, {"min_region": 0.0}, {"precision": "bf16"}], ids=str)
def test_records_whose_scores_mean_nothing_known_are_read_again(
    model: LoadedModel, photos: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """What a setting without calibration writes is a record as any other: it can be verified, reported and resumed."""
    _scan(model, [photos], tmp_path / "out", config=dataclasses.replace(CONFIG, **change))
    lines = (tmp_path / "out" / "results.jsonl").read_bytes().splitlines(keepends=True)
    outcomes = [parse_line(line) for line in lines]
    assert all(outcome is not None for outcome in outcomes)
    assert [o.score_meaning.authentic for o in outcomes if isinstance(o, ScanFinding) and o.score_meaning] == [0] * 2


def test_a_forced_scan_leaves_no_mask_of_a_file_that_is_now_skipped(
    model: LoadedModel, photos: Path, tmp_path: Path
) -> None:
    """An old mask beside a record of a skipped image would be read as its result."""
    _scan(model, [photos], tmp_path / "out")
    (photos / "a.png").write_text("no image any more")
    _scan(model, [photos], tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "a.png.mask.png").exists()


def test_masks_inside_the_input_are_no_input(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """With --force the masks may lie among the photos; a second scan does not scan them."""
    _scan(model, [photos], photos / "masks", force=True)
    plan = plan_scan([photos], out=photos / "masks", force=True)
    assert [image.name for image in plan.images] == ["a.png", "b.jpg", "sub/a.png"]
    assert not (tmp_path / "out").exists()


def test_a_mask_that_cannot_be_written_ends_the_run(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no property of the image: the run stops with the reason and leaves no record without a mask."""

    def full(path: Path, _: bytes) -> str:
        raise OutputError(f"Cannot write {path}: No space left on device.")

    monkeypatch.setattr(scan_engine, "write_atomic", full)
    with pytest.raises(OutputError, match="No space"):
        _scan(model, [photos], tmp_path / "out")
    assert (tmp_path / "out" / "results.jsonl").read_text() == ""


def test_a_threshold_outside_its_range_is_refused(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(UsageError, match="threshold"):
        _scan(model, [photos], tmp_path / "out", config=dataclasses.replace(CONFIG, threshold=1.5))
    assert not (tmp_path / "out").exists()
