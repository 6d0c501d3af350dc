"""A scan of some hundred hostile files: each is either analysed or skipped with its reason, once, and nothing else."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from nclforensics.config import ScanConfig
from nclforensics.data.quality.block_grid import BlockGrid
from nclforensics.networks.weights import load_model
from nclforensics.pipelines import scan_engine
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.outputs import RESULTS_FILE
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from tests.data.encodings import HEIGHT, WIDTH, encodings
from tests.data.hostile import (
    flipped_files,
    lying_files,
    misleading_files,
    truncated_files,
    write_no_files,
    write_odd_names,
)
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MOST_PIXELS = 1_000_000  # so that a bomb is anything above it


@dataclass(frozen=True)
class Corpus:
    """What was written, and what the scan left.

    Attributes:
        whole: Paths that must be analysed.
        unusable: Paths that must be skipped.
        either: Paths of which one or the other is right.
        records: All records, in order.
        out: The output folder.
        seconds: How long the scan took.
    """

    whole: set[str]
    unusable: set[str]
    either: set[str]
    records: list[dict[str, Any]]
    out: Path
    seconds: float


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Write the corpus, scan it with decoders in processes of their own and no network, and return what came of it."""
    folder = tmp_path_factory.mktemp("corpus")
    whole = _write(folder, encodings()) | {str(path) for path in write_odd_names(folder)}
    whole |= _write(folder, misleading_files())
    unusable = _write(folder, truncated_files()) | _write(folder, lying_files())
    unusable |= {str(path) for path in write_no_files(folder)}
    either = _write(folder, flipped_files())
    vanishing = folder / "vanishing.png"
    vanishing.write_bytes(encodings()["rgb.png"])
    unusable.add(str(vanishing))

    model = load_model(write_model(folder.parent / "tiny"))
    out = tmp_path_factory.mktemp("scan") / "out"
    plan = plan_scan([folder], out=out)
    vanishing.unlink()
    start = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_engine, "DECODERS", 2)
        patch.setattr(Localizer, "localize_with_copies", _nothing_found)
        list(scan_images(plan, model, ScanConfig(device="cpu", max_pixels=MOST_PIXELS)))
    seconds = time.monotonic() - start
    lines = (out / RESULTS_FILE).read_text(encoding="ascii").splitlines()
    return Corpus(whole, unusable, either, [json.loads(line) for line in lines], out, seconds)


def _nothing_found(_: Localizer, pixels: NDArray[np.uint8]) -> Localization:
    return Localization(np.zeros(pixels.shape[:2], np.float32), (), BlockGrid.starting_at(0, 0), 1)


def _write(folder: Path, files: dict[str, bytes]) -> set[str]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {str(folder / name) for name in files}


def test_the_corpus_is_large_and_every_file_is_recorded_once(corpus: Corpus) -> None:
    """At least 300 files; none is missing in the records, none stands there twice."""
    expected = corpus.whole | corpus.unusable | corpus.either
    assert len(expected) >= 300
    assert sorted(record["path"] for record in corpus.records) == sorted(expected)


def test_whole_pictures_are_analysed(corpus: Corpus) -> None:
    """Whatever the format, the variation, the suffix or the name."""
    skipped = {record["path"]: record["reason"] for record in corpus.records if record["status"] == "skipped"}
    assert {path: skipped[path] for path in corpus.whole & skipped.keys()} == {}


def test_unusable_files_are_skipped_with_a_reason(corpus: Corpus) -> None:
    """Truncated, lying, empty, no file at all: never analysed, and the record says why."""
    scanned = {record["path"] for record in corpus.records if record["status"] == "scanned"}
    assert corpus.unusable & scanned == set()
    for record in corpus.records:
        if record["status"] == "skipped":
            assert record["error"] in {"UnreadableImageError", "MissingInputError"}
            assert "\n" not in record["reason"].replace(record["path"], "")
            assert "crashed" not in record["reason"]


def test_skipped_files_have_no_output_and_the_others_have_theirs(corpus: Corpus) -> None:
    """Each mask belongs to an analysed file and has its size; no temporary file is left."""
    masks = {record["mask"]: record for record in corpus.records if record["status"] == "scanned"}
    left = {path.relative_to(corpus.out).as_posix() for path in corpus.out.rglob("*") if path.is_file()}
    assert {name for name in left if name.endswith(".png")} == masks.keys()
    assert {name for name in left if not name.endswith(".png")} == {"results.jsonl", "run.json", "timings.jsonl"}
    for name, record in masks.items():
        mask = cv2.imdecode(np.frombuffer((corpus.out / name).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        assert mask.shape == (record["height"], record["width"])


def test_nothing_hangs(corpus: Corpus) -> None:
    """Bombs and lies end within seconds: the whole corpus takes less than a second for ten files."""
    assert corpus.seconds < len(corpus.records) / 10
    assert {(record["height"], record["width"]) for record in corpus.records if record.get("mask")} >= {(HEIGHT, WIDTH)}
