"""What `run.json` says about a scan: who, with what, on which machine, and the settings that the bytes depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import torch

import nclforensics
from nclforensics.pipelines.decision import CALIBRATED_PRECISION
from nclforensics.pipelines.scan_plan import digest_of_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.examination import Examiner
    from nclforensics.pipelines.scan_plan import ScanPlan

RUN_SCHEMA_VERSION: Final = 2
CODEC_PACKAGES: Final = ("numpy", "pillow", "pillow-heif", "rawpy", "simplejpeg", "tifffile")


@dataclass(frozen=True, kw_only=True)
class Custody:
    """Who scanned what for which case, as the user states it.

    Attributes:
        command: The command line, program name first.
        case: The case's identifier, None if none was given.
        operator: Who runs the scan, None if nobody was named.
        weights: The model as the user named it; None is the default model.
    """

    command: tuple[str, ...] = ()
    case: str | None = None
    operator: str | None = None
    weights: str | None = None


def run_document(plan: ScanPlan, model: LoadedModel, examiner: Examiner, custody: Custody) -> dict[str, Any]:
    """Return the part of `run.json` that is known before the first image."""
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "case": custody.case,
        "operator": custody.operator,
        "command": list(custody.command),
        "started": utc_now(),
        "working_folder": str(Path.cwd()),
        "inputs": [{"path": path, "images": count} for path, count in plan.inputs],
        "images": len(plan.images),
        "passed_over": plan.passed_over,
        "images_sha256": digest_of_paths(str(image.path) for image in plan.images),
        "config": dataclasses.asdict(examiner.config),
        "config_sha256": digest_of_config(examiner.config),
        "threshold": describe_threshold(model, examiner.config),
        "device": examiner.device,
        "threads": examiner.threads,
        "model": {
            "name": model.name,
            "weights": custody.weights,
            "weights_sha256": model.sha256,
            "calibration": dataclasses.asdict(model.calibration),
        },
        "versions": versions(),
        "git_commit": git_commit(),
        "host": {
            "name": platform.node(),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "resumed": [],
    }


def describe_threshold(model: LoadedModel, config: ScanConfig) -> dict[str, Any]:
    """Return the threshold in force and the false-positive rate measured for it, None if it was not measured.

    Another number format than the calibration's gives other scores, for which no rate was measured.
    """
    threshold = model.threshold if config.threshold is None else config.threshold
    rates = [rate for rate, value in model.thresholds.items() if value == threshold]
    same_setting = config.min_region == model.min_region and config.precision == CALIBRATED_PRECISION
    measured = bool(rates) and same_setting
    return {
        "value": threshold,
        "min_region": config.min_region,
        "false_positive_rate": min(rates) if measured else None,
        "authentic_images": model.calibration.authentic if measured else None,
    }


def digest_of_config(config: ScanConfig) -> str:
    """Return the SHA-256 of the settings of a scan: any of them may change a result or a file."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str | None]:
    """Return the versions of everything that decodes, computes or encodes; None for what is not installed."""
    installed: dict[str, str | None] = {"nclforensics": nclforensics.__version__, "torch": torch.__version__}
    for package in CODEC_PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = None
    return {**installed, "opencv": cv2.__version__}


def changed_versions(recorded: Mapping[str, str | None], *, what: str) -> Iterator[str]:
    """Yield a sentence for each package whose version here is another one than recorded.

    Args:
        recorded: As `versions` returned them.
        what: What they were recorded with, such as "The scan was made".
    """
    for name, here in versions().items():
        before = recorded.get(name)
        if before != here:
            absent = f"without {name}" if name in recorded else f"by a version that did not record {name}"
            was = absent if before is None else f"with {name} {before}"
            yield f"{what} {was}; {'it is not installed here' if here is None else f'here it is {here}'}."


@cache
def git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, with "-dirty" after it if files were changed.

    None for an installed package, and where git cannot tell.
    """
    checkout = Path(nclforensics.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
