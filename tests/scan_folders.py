"""Scans with a tiny model, for tests of what a scan leaves on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nclforensics.config import ScanConfig
from nclforensics.pipelines.outputs import encode_png
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from tests.factories import make_image

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.run_document import Custody
    from nclforensics.results import Outcome

CONFIG: Final = ScanConfig(device="cpu")
TIMED: Final = frozenset({"run.json", "timings.jsonl"})


def write_photos(folder: Path, *, count: int = 3) -> Path:
    """Write small photos 0.png, 1.png, ... and return their folder."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index}.png").write_bytes(encode_png(make_image(72, 80, seed=index)))
    return folder


def scan_folder(
    model: LoadedModel,
    photos: Path,
    out: Path,
    *,
    config: ScanConfig = CONFIG,
    resume: bool = False,
    custody: Custody | None = None,
) -> list[Outcome]:
    """Scan a folder to the end."""
    return list(scan_images(plan_scan([photos], out=out, resume=resume), model, config, custody=custody))


def contents(out: Path) -> dict[str, bytes]:
    """Return all files of an output folder that must not depend on when the scan ran."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in TIMED]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}
