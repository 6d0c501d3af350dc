"""Records are whole or absent, and survive what happens to the process and the disk."""

from __future__ import annotations

import json
import os
import resource
import signal
from typing import TYPE_CHECKING, Any

import pytest

from nclforensics.errors import OutputError
from nclforensics.pipelines import records as records_module
from nclforensics.pipelines.records import ScanRecords, record_line
from nclforensics.results import SkippedImage, outcome_of_record

if TYPE_CHECKING:
    from pathlib import Path

RUN: dict[str, Any] = {"resumed": []}


def _skipped(path: str) -> SkippedImage:
    return SkippedImage(path=path, reason="none", error="Error", sha256=None, size_bytes=None)


def test_a_disk_that_fills_up_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    """The system takes half of a line and then refuses: that half is removed, the error says why."""
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with ScanRecords(tmp_path, RUN) as records:
            records.add(_skipped("a"), seconds=0.1)
            size = (tmp_path / "results.jsonl").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, previous[1]))
            with pytest.raises(OutputError, match="too large"):
                records.add(_skipped("b"), seconds=0.1)
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)
    lines = (tmp_path / "results.jsonl").read_text().splitlines(keepends=True)
    assert lines == [record_line(_skipped("a")) + "\n"]


def test_records_are_forced_to_the_disk_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each image, which a spinning disk would feel, but at the latest after some seconds, and at the end."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with ScanRecords(tmp_path, RUN) as records:
        before = len(synced)
        records.add(_skipped("a"), seconds=0.1)
        assert len(synced) == before
        monkeypatch.setattr(records_module, "SYNC_SECONDS", 0.0)
        records.add(_skipped("b"), seconds=0.1)
        assert len(synced) == before + 1
    assert len(synced) > before + 1


def test_a_scan_that_fails_on_a_full_disk_tells_the_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """run.json cannot be written either; that it stays at "running" is no reason to hide what happened."""

    def full(path: Path, _: bytes) -> str:
        raise OutputError(f"Cannot write {path}: No space left on device.")

    def scan() -> None:
        with ScanRecords(tmp_path, RUN):
            monkeypatch.setattr(records_module, "write_atomic", full)
            raise OutputError("the mask")

    with pytest.raises(OutputError, match="the mask"):
        scan()
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "running"


def test_a_name_cannot_break_a_line() -> None:
    """Newlines, quotes and bytes that are no UTF-8 come back as they were."""
    skipped = _skipped("a\n\"b'\u2028\udc80<img src=x>")
    line = record_line(skipped)
    assert line.isascii()
    assert "\n" not in line
    assert outcome_of_record(json.loads(line)) == skipped
