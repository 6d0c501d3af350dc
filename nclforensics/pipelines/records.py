"""The record of a scan on disk: `results.jsonl`, one line a file as soon as it is known, and `run.json`."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
import torch

import nclforensics
from nclforensics.pipelines.outputs import RESULTS_FILE, RUN_FILE, cannot_write, write_atomic
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.results import SkippedImage

RUN_SCHEMA_VERSION: Final = 1


class ScanRecords:
    """Writes the records of one scan; a context manager, so that `run.json` tells how the scan ended.

    A killed scan leaves `run.json` with the status "running" and a complete line in `results.jsonl` for every image
    that was finished.

    Args:
        out: The output folder, made if missing.
        run: What `run_document` returned.
    """

    def __init__(self, out: Path, run: dict[str, Any]) -> None:
        self._path = out / RESULTS_FILE
        self._run_path = out / RUN_FILE
        self._run = run
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._write_run("running", ended=None)
        try:
            self._file = self._path.open("w", encoding="ascii", newline="\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error
        return self

    def add(self, outcome: ScanFinding | SkippedImage) -> None:
        """Append the record of one image and hand it to the operating system.

        Raises:
            OutputError: If it cannot be written.
        """
        self._counts[outcome.decision if isinstance(outcome, ScanFinding) else "skipped"] += 1
        try:
            self._file.write(record_line(outcome) + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        status = "failed" if kind is not None and issubclass(kind, Exception) else "interrupted"
        if kind is None:
            status = "finished"
        self._write_run(status, ended=_now())

    def _write_run(self, status: str, *, ended: str | None) -> None:
        counts = dict(sorted(self._counts.items()))
        document = {**self._run, "status": status, "ended": ended, "counts": counts}
        write_atomic(self._run_path, (json.dumps(document, indent=2) + "\n").encode())


def record_line(outcome: ScanFinding | SkippedImage) -> str:
    """Return one line of `results.jsonl`: ASCII JSON, so that no file name can break it."""
    return json.dumps(outcome.to_record(), allow_nan=False)


def run_document(
    *,
    command: list[str],
    inputs: list[dict[str, Any]],
    config: ScanConfig,
    model: LoadedModel,
    threshold: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    """Return the part of `run.json` that is known before the first image.

    Args:
        command: The command line, program name first.
        inputs: The paths as given, each with the number of images it stands for.
        config: The settings of the scan.
        model: Named with its digest and calibration.
        threshold: The threshold in force, and what is known about its false-positive rate.
        device: Where the scores are computed.
    """
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "case": None,
        "operator": None,
        "command": command,
        "started": _now(),
        "inputs": inputs,
        "config": dataclasses.asdict(config),
        "threshold": threshold,
        "device": device,
        "model": {
            "name": model.name,
            "weights_sha256": model.sha256,
            "calibration": dataclasses.asdict(model.calibration),
        },
        "versions": {
            "nclforensics": nclforensics.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "platform": platform.platform(),
        },
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
