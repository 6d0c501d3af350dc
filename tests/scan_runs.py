"""Folders as a scan leaves them, made without a model: for tests of everything that reads one."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.pipelines.outputs import digest_of, encode_mask, encode_png
from nclforensics.pipelines.records import record_line
from nclforensics.reports.overlay import score_map_to_uint16
from nclforensics.reports.scan_document import ScanDocument, outcome_name, scan_document
from nclforensics.results import Box, Copy, QualityFacts, Region, ScanFinding, SkippedImage
from tests.factories import make_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nclforensics.results import Outcome

HEIGHT: Final = 80
WIDTH: Final = 120
REGION: Final = Region(x=10, y=20, width=30, height=40, area=1200, mean_score=0.97, max_score=0.99)

FACTS: Final = QualityFacts(
    jpeg_quality=85,
    jpeg_standard_tables=True,
    jpeg_subsampling="4:2:0",
    jpeg_progressive=False,
    earlier_jpeg_gain=0.04,
    earlier_jpeg_quality=60,
    resampling_peak=9.3,
    resampling_frequency=0.25,
    softness=2.5,
    upscaled=True,
    textureless_share=0.1,
    near_uniform=False,
    flat_share=0.02,
    ruled_share=0.0,
    screenshot_like=True,
    level_unevenness=0.36,
    levels_changed=True,
)


COPY = Copy(
    source=Box(x=1, y=2, width=30, height=40),
    target=Box(x=10, y=20, width=31, height=42),
    directed=True,
    matches=12,
    correlation=0.97,
    score=0.9,
)


def make_finding(path: str = "photo.png", **changes: Any) -> ScanFinding:  # noqa: ANN401 - any field
    """Return a finding with one region; `changes` replaces fields."""
    finding = ScanFinding(
        path=path,
        sha256="a" * 64,
        sha256_after="a" * 64,
        size_bytes=1234,
        width=WIDTH,
        height=HEIGHT,
        format="PNG",
        decoder="made-up 1.0",
        orientation=1,
        notes=(),
        decision="localized evidence",
        reason=None,
        image_score=0.98,
        threshold=0.9,
        min_region=0.005,
        tampered_share=0.125,
        regions=(REGION,),
        copies=(),
        mask=f"{path}.mask.png",
        mask_sha256="b" * 64,
        overlay=None,
        overlay_sha256=None,
        score_map=None,
        score_map_sha256=None,
        tiles=1,
        device="cpu",
    )
    return dataclasses.replace(finding, **changes)


def make_quiet_finding(path: str = "calm.png", **changes: Any) -> ScanFinding:  # noqa: ANN401 - any field
    """Return a finding without a region."""
    nothing = {"decision": "no localized evidence", "regions": (), "tampered_share": 0.0, "image_score": 0.2}
    return make_finding(path, **{**nothing, **changes})


def make_skipped(path: str = "torn.jpg", reason: str = "Cannot decode: the file is cut short.") -> SkippedImage:
    """Return a skipped image."""
    return SkippedImage(path=path, reason=reason, error="UnreadableImageError", sha256="c" * 64, size_bytes=7)


def make_run(outcomes: Sequence[Outcome], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """Return what `run.json` says after a scan with these outcomes."""
    run: dict[str, Any] = {
        "schema_version": 2,
        "case": "2026-117",
        "operator": "A. Examiner",
        "command": ["nclf", "scan", "my photos", "--out", "out"],
        "started": "2026-11-23T10:00:00.000+00:00",
        "working_folder": "",
        "inputs": [{"path": "photos", "images": len(outcomes)}],
        "images": len(outcomes),
        "images_sha256": "d" * 64,
        "config": {"threshold": 0.9, "min_region": 0.005, "tile": 2048},
        "config_sha256": "e" * 64,
        "threshold": {"value": 0.9, "min_region": 0.005, "false_positive_rate": 0.05, "authentic_images": 100},
        "device": "cpu",
        "threads": 2,
        "model": {
            "name": "tiny",
            "weights": None,
            "weights_sha256": "f" * 64,
            "calibration": {
                "false_positive_rates": [0.01, 0.05],
                "thresholds": [0.95, 0.9],
                "min_region": 0.005,
                "authentic": 100,
                "source": "made up for tests",
            },
        },
        "versions": {"nclforensics": "0.1.0"},
        "git_commit": None,
        "host": {"name": "desk", "platform": "Linux", "python": "3.11"},
        "resumed": [],
        "status": "finished",
        "ended": "2026-11-23T10:05:00.000+00:00",
        "counts": dict(Counter(map(outcome_name, outcomes))),
    }
    return {**run, **changes}


def make_document(outcomes: Sequence[Outcome], **changes: Any) -> ScanDocument:  # noqa: ANN401 - any field of run.json
    """Return the document of a scan with these outcomes."""
    counts = Counter(map(outcome_name, outcomes))
    run = make_run(outcomes, **changes)
    return scan_document(run, counts=counts, unreadable=0, results_sha256="1" * 64, run_sha256="2" * 64)


def write_run(folder: Path, outcomes: Sequence[Outcome], **changes: Any) -> Path:  # noqa: ANN401 - any field
    """Write `run.json` and `results.jsonl` for these outcomes and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(record_line(outcome) + "\n" for outcome in outcomes))
    (folder / "run.json").write_text(json.dumps(make_run(outcomes, **changes)))
    return folder


def write_scanned(photos: Path, out: Path, name: str, **changes: Any) -> ScanFinding:  # noqa: ANN401 - any field
    """Write a photo, its mask and its score map, and return the finding that fits them."""
    photo = encode_png(make_image(HEIGHT, WIDTH))
    photos.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    (photos / name).write_bytes(photo)
    prediction = np.zeros((HEIGHT, WIDTH), dtype=bool)
    prediction[REGION.y : REGION.y + REGION.height, REGION.x : REGION.x + REGION.width] = True
    scores = encode_png(score_map_to_uint16(prediction.astype(np.float32)))
    mask = encode_mask(prediction)
    (out / f"{name}.mask.png").write_bytes(mask)
    (out / f"{name}.score.png").write_bytes(scores)
    facts = {
        "sha256": digest_of(photo),
        "sha256_after": digest_of(photo),
        "size_bytes": len(photo),
        "mask": f"{name}.mask.png",
        "mask_sha256": digest_of(mask),
        "score_map": f"{name}.score.png",
        "score_map_sha256": digest_of(scores),
    }
    return make_finding(**{"path": str(photos / name), **facts, **changes})
