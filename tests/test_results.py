"""Records read back are the ones that were written, or are refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from nclforensics.results import (
    OLDER_VERSIONS,
    Outcome,
    QualityFacts,
    Region,
    ScanFinding,
    SkippedImage,
    as_older_record,
    outcome_of_record,
)
from tests.scan_runs import COPY, FACTS

REGION = Region(x=1, y=2, width=3, height=4, area=5, mean_score=0.5, max_score=0.75)
FINDING = ScanFinding(
    path="a.jpg",
    sha256="0" * 64,
    sha256_after="0" * 64,
    size_bytes=10,
    width=64,
    height=48,
    format="JPEG",
    decoder="made-up 1.0",
    orientation=1,
    notes=("grey repeated into three channels",),
    decision="localized evidence",
    reason=None,
    image_score=0.75,
    threshold=0.5,
    min_region=0.005,
    tampered_share=0.01,
    regions=(REGION, dataclasses.replace(REGION, x=9)),
    copies=(COPY,),
    mask="a.jpg.mask.png",
    mask_sha256="1" * 64,
    overlay=None,
    overlay_sha256=None,
    score_map="a.jpg.score.png",
    score_map_sha256="2" * 64,
    tiles=1,
    device="cpu",
)
SKIPPED = SkippedImage(path="b.jpg", reason="none", error="UnreadableImageError", sha256=None, size_bytes=None)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json.dumps(outcome.to_record()))
    return record


@pytest.mark.parametrize("outcome", [FINDING, SKIPPED], ids=["finding", "skipped"])
def test_a_record_gives_its_outcome_back(outcome: Outcome) -> None:
    """Through JSON, tuples and all."""
    assert outcome_of_record(_as_json(outcome)) == outcome


@pytest.mark.parametrize("version", OLDER_VERSIONS)
@pytest.mark.parametrize("facts", [None, FACTS], ids=["no facts", "facts"])
def test_a_record_of_an_older_version_is_read_without_what_it_lacks(version: int, facts: QualityFacts | None) -> None:
    """A scan that was made before can still be verified and reported; what was written is given back exactly."""
    finding = dataclasses.replace(FINDING, quality=facts)
    record = _as_json(finding) | {"schema_version": version}
    if version == 2:
        del record["copies"]
    if facts is not None:
        del record["quality"]["level_unevenness"], record["quality"]["levels_changed"]
    read = outcome_of_record(record)
    known = facts and dataclasses.replace(facts, level_unevenness=None, levels_changed=False)
    assert read == dataclasses.replace(finding, copies=() if version == 2 else (COPY,), quality=known)
    assert as_older_record(json.loads(json.dumps(read.to_record())), version) == record
    assert outcome_of_record(_as_json(SKIPPED) | {"schema_version": version}) == SKIPPED


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 1},
        {"status": "fake"},
        {"status": ["scanned"]},
        {"status": "skipped"},
        {"width": "64"},
        {"width": 64.0},
        {"width": True},
        {"path": None},
        {"image_score": 1},
        {"notes": "text"},
        {"notes": [1]},
        {"regions": [{"x": 1}]},
        {"regions": None},
        {"decision": "fake"},
        {"extra": 1},
    ],
    ids=repr,
)
def test_another_record_is_refused(change: dict[str, Any]) -> None:
    """A wrong version, status, type, value or field: nothing is guessed."""
    with pytest.raises(ValueError, match=r"expected|has the value|does not have"):
        outcome_of_record({**_as_json(FINDING), **change})


@pytest.mark.parametrize("record", [None, [], "text", 1, {}], ids=repr)
def test_what_is_no_record_is_refused(record: object) -> None:
    """Any JSON can stand in a line."""
    with pytest.raises(ValueError, match="expected"):
        outcome_of_record(record)


def test_the_files_of_a_finding_are_those_written() -> None:
    """Each with its digest; what was not asked for is not among them."""
    assert FINDING.output_files() == {"a.jpg.mask.png": "1" * 64, "a.jpg.score.png": "2" * 64}
