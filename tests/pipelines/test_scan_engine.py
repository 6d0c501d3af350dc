"""The stages of a scan: in order, bounded, and stopped cleanly."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nclforensics.data.quality.block_grid import BlockGrid
from nclforensics.errors import OutputError
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import outputs, scan_engine
from nclforensics.pipelines.decoder_pool import DecoderPool
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from nclforensics.results import SkippedImage
from tests.scan_folders import CONFIG, contents, scan_folder, write_photos
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.images import LoadedImage
    from nclforensics.results import Outcome


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny model."""
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny"))


def _recorded(out: Path) -> list[str]:
    return [json.loads(line)["path"] for line in (out / "results.jsonl").read_text().splitlines()]


def test_records_are_in_the_order_of_the_plan(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the first image takes longest to conclude."""
    conclude = Examiner.conclude

    def uneven(self: Examiner, image: Any, loaded: Any, score_map: Any) -> Any:  # noqa: ANN401 - passed on
        if image.path.name == "0.png":
            time.sleep(0.2)
        return conclude(self, image, loaded, score_map)

    monkeypatch.setattr(Examiner, "conclude", uneven)
    monkeypatch.setattr(scan_engine, "WORKERS", 3)
    photos = write_photos(tmp_path / "photos", count=6)
    outcomes = scan_folder(model, photos, tmp_path / "out")
    expected = [str(photos / f"{index}.png") for index in range(6)]
    assert [outcome.path for outcome in outcomes] == expected
    assert _recorded(tmp_path / "out") == expected


def test_stages_overlap(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one image is concluded, the next one is localized: each waits for the other here, or fails."""
    meeting = threading.Barrier(2)
    localize, conclude = Examiner.localize, Examiner.conclude
    calls = []

    def localize_and_meet(self: Examiner, loaded: LoadedImage) -> Localization:
        calls.append(loaded)
        if len(calls) == 2:
            meeting.wait(timeout=20)
        return localize(self, loaded)

    def conclude_and_meet(self: Examiner, image: Any, *rest: Any) -> Any:  # noqa: ANN401 - passed on
        if image.path.name == "0.png":
            meeting.wait(timeout=20)
        return conclude(self, image, *rest)

    monkeypatch.setattr(Examiner, "localize", localize_and_meet)
    monkeypatch.setattr(Examiner, "conclude", conclude_and_meet)
    assert len(scan_folder(model, write_photos(tmp_path / "photos"), tmp_path / "out")) == 3


def test_decoding_in_other_processes_changes_nothing(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan decodes in a pool of processes; here it is compared with one that decodes in this process."""
    photos = write_photos(tmp_path / "photos")
    (photos / "none.jpg").write_bytes(b"not a photo")
    scan_folder(model, photos, tmp_path / "here")
    monkeypatch.setattr(scan_engine, "DECODERS", 2)
    scan_folder(model, photos, tmp_path / "there")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_the_number_of_images_under_way_is_bounded(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not more are read than the limit, however many there are, while the first one is held up."""
    read: list[str] = []
    seen: list[int] = []
    read_image = DecoderPool.submit

    def submit(self: Any, path: Path) -> Any:  # noqa: ANN401 - passed on
        read.append(path.name)
        return read_image(self, path)

    def held_up(_: Localizer, image: NDArray[np.uint8]) -> Localization:
        time.sleep(0.02)
        seen.append(len(read) - len(seen))
        return Localization(np.zeros(image.shape[:2], np.float32), (), BlockGrid.starting_at(0, 0), 1)

    monkeypatch.setattr(DecoderPool, "submit", submit)
    monkeypatch.setattr(Localizer, "localize_with_copies", held_up)
    scan_folder(model, write_photos(tmp_path / "photos", count=12), tmp_path / "out")
    assert max(seen) <= scan_engine.IMAGES_UNDER_WAY


@pytest.mark.parametrize("limit", ["PIXELS_UNDER_WAY", "LARGE_FILE"])
def test_a_large_image_is_read_alone(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """With limits that any image reaches, one after the other is read, and all are scanned."""
    monkeypatch.setattr(scan_engine, limit, 1)
    out = tmp_path / "out"
    assert len(scan_folder(model, write_photos(tmp_path / "photos"), out)) == 3
    assert len(_recorded(out)) == 3


def test_a_stopped_scan_finishes_what_the_network_has_seen(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as interrupted, with a record for each mask, all of them told, and is ready to be resumed."""
    conclude = Examiner.conclude

    def slowly(self: Examiner, image: Any, *rest: Any) -> Any:  # noqa: ANN401 - passed on
        time.sleep(0.1)
        return conclude(self, image, *rest)

    monkeypatch.setattr(Examiner, "conclude", slowly)
    photos, out = write_photos(tmp_path / "photos", count=8), tmp_path / "out"
    stop = threading.Event()
    outcomes: list[Outcome] = []

    def scan() -> None:
        for outcome in scan_images(plan_scan([photos], out=out), model, CONFIG, should_stop=stop.is_set):
            outcomes.append(outcome)
            stop.set()

    with pytest.raises(KeyboardInterrupt):
        scan()
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert 1 <= len(outcomes) < 8
    assert _recorded(out) == [outcome.path for outcome in outcomes]
    assert len(list(out.glob("*.mask.png"))) == len(outcomes)


def test_a_full_disk_stops_the_scan_with_its_reason(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished keeps its record; no half file is left; `--resume` finishes the scan when there is space."""
    photos, out = write_photos(tmp_path / "photos", count=6), tmp_path / "out"
    fsync = os.fsync
    calls = []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) == 4:  # run.json and two masks have room, then a mask has none
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        scan_folder(model, photos, out)
    monkeypatch.undo()
    assert [name.rpartition("/")[2] for name in _recorded(out)] == ["0.png", "1.png"]
    assert sorted(path.name for path in out.glob("*.mask.png")) == ["0.png.mask.png", "1.png.mask.png"]
    assert not list(out.glob(".nclf-*"))
    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "failed"
    assert "No space left" in run["error"]
    assert len(scan_folder(model, photos, out, resume=True)) == 6
    assert len(_recorded(out)) == 6


def test_what_follows_a_failure_leaves_nothing(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that were written while an earlier one could not be have no record, and so no files either."""
    photos, out = write_photos(tmp_path / "photos", count=3), tmp_path / "out"
    write = outputs.write_atomic

    def fail_late(path: Path, content: bytes) -> str:
        if path.name == "0.png.overlay.png":
            time.sleep(0.5)
            raise OutputError("Cannot write.")
        return write(path, content)

    monkeypatch.setattr(scan_engine, "WORKERS", 3)
    monkeypatch.setattr(scan_engine, "write_atomic", fail_late)
    with pytest.raises(OutputError, match="Cannot write"):
        scan_folder(model, photos, out, config=dataclasses.replace(CONFIG, overlay=True))
    assert contents(out) == {"results.jsonl": b""}


def test_odd_inputs_end_as_skipped_records(model: LoadedModel, tmp_path: Path) -> None:
    """A pipe, a dangling link, a link to itself and a file that vanished: recorded with reasons, and nothing hangs."""
    photos = write_photos(tmp_path / "photos", count=1)
    os.mkfifo(photos / "pipe.jpg")
    (photos / "dangling.jpg").symlink_to("nothing")
    (photos / "self.jpg").symlink_to("self.jpg")
    (photos / "vanishing.png").write_bytes(b"x")
    plan = plan_scan([photos], out=tmp_path / "out")
    (photos / "vanishing.png").unlink()
    outcomes = {outcome.path.rpartition("/")[2]: outcome for outcome in scan_images(plan, model, CONFIG)}
    skipped = {name for name, outcome in outcomes.items() if isinstance(outcome, SkippedImage)}
    assert skipped == {"pipe.jpg", "dangling.jpg", "self.jpg", "vanishing.png"}
    assert all(outcome.sha256 is None for name, outcome in outcomes.items() if name in skipped)
