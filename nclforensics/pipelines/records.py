"""The record of a scan on disk.

`results.jsonl` has one line an image, in the order of the plan, appended as soon as it is known. It holds nothing that
differs between two runs: when and how long stands in `timings.jsonl`, who and with what in `run.json`.

Each line is handed to the operating system at once, so a killed process loses none; it is forced to the disk every few
seconds and at the end, so a power cut may lose the last ones, which `--resume` scans again. An image's output files are
forced to the disk before its line is appended.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from nclforensics.errors import OutputError
from nclforensics.pipelines.outputs import RESULTS_FILE, RUN_FILE, TIMINGS_FILE, cannot_write, write_atomic
from nclforensics.pipelines.run_document import utc_now
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from nclforensics.results import Outcome

SYNC_SECONDS: Final = 5.0


class ScanRecords:
    """Writes the records of one scan; a context manager, so that `run.json` tells how the scan ended.

    A killed scan leaves `run.json` with the status "running" and a complete line in `results.jsonl` for every image
    that was finished.

    Args:
        out: The output folder, made if missing.
        run: What `run_document` returned.
    """

    def __init__(self, out: Path, run: dict[str, Any]) -> None:
        self._out = out
        self._run = run
        self._counts: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._kept = 0
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        self._write_run("running", ended=None)
        self._results = self._open(self._out / RESULTS_FILE, goes_on=False)
        self._timings = self._open(self._out / TIMINGS_FILE, goes_on=bool(self._run["resumed"]))
        return self

    def add(self, outcome: Outcome, *, seconds: float | None) -> None:
        """Append the record of one image.

        Args:
            outcome: What was found, or why the image was skipped.
            seconds: How long localizing and writing took; None for a record kept from before the run was resumed.

        Raises:
            OutputError: If it cannot be written; the line is then not there, not even a part of it.
        """
        line = record_line(outcome)
        self._append(self._results, self._out / RESULTS_FILE, line)
        self._digest.update(line.encode("ascii") + b"\n")
        self._counts[outcome.decision if isinstance(outcome, ScanFinding) else "skipped"] += 1
        if seconds is None:
            self._kept += 1
        else:
            timing = {"path": outcome.path, "recorded": utc_now(), "seconds": round(seconds, 4)}
            self._append(self._timings, self._out / TIMINGS_FILE, json.dumps(timing))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sync()
            self._write_run(_status(kind), ended=utc_now(), error=error)
        except OutputError:
            # On a full disk this fails like what ended the scan before, and that is the error to be told.
            if not isinstance(error, OutputError):
                raise
        finally:
            self._results.close()
            self._timings.close()

    def _open(self, path: Path, *, goes_on: bool) -> BinaryIO:
        """Open a file of this folder's own: whatever a link of that name leads to, a photo even, stays as it is."""
        try:
            if path.is_symlink() or not goes_on:
                path.unlink(missing_ok=True)
            mode = "ab" if goes_on else "xb"
            return path.open(mode, buffering=0)  # type: ignore[return-value]  # unbuffered: what is written is handed over
        except OSError as error:
            raise cannot_write(path, error) from error

    def _append(self, file: BinaryIO, path: Path, line: str) -> None:
        """Append a line whole or not at all: a disk that fills up may take a part of it."""
        content = line.encode("ascii") + b"\n"
        end = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
        except OSError as error:
            os.ftruncate(file.fileno(), end)
            raise cannot_write(path, error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._results.fileno())
        except OSError as error:
            raise cannot_write(self._out / RESULTS_FILE, error) from error
        self._synced = time.monotonic()

    def _write_run(self, status: str, *, ended: str | None, error: BaseException | None = None) -> None:
        counts = dict(sorted(self._counts.items()))
        reason = str(error) if status == "failed" else None
        digest = None if status == "running" else self._digest.hexdigest()
        document = {**self._run, "status": status, "error": reason, "ended": ended, "counts": counts}
        document["results_sha256"] = digest
        if self._run["resumed"]:
            *before, last = self._run["resumed"]
            document["resumed"] = [*before, {**last, "records_kept": self._kept}]
        write_atomic(self._out / RUN_FILE, (json.dumps(document, indent=2) + "\n").encode())


def record_line(outcome: Outcome) -> str:
    """Return one line of `results.jsonl`: ASCII JSON, so that no file name can break it."""
    return json.dumps(outcome.to_record(), allow_nan=False)


def _status(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "finished"
    return "failed" if issubclass(kind, Exception) else "interrupted"
