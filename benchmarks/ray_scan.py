"""What a scan costs per image and per megapixel, on one machine and on Ray, and what many images would take.

    python benchmarks/ray_scan.py [--photos 60] [--slope 1000 10000] [--slope 1000 10000 100000] [--no-ray]

Everything is measured with made photos, each scan in a process of its own, and printed as the tables of
docs/scaling.md, in Markdown:

1. Cost: the local engine on equally many photos of three sizes; seconds = a + b * megapixels, by least squares. The
   time is that of the second half of the photos, which leaves start-up out; memory is the largest resident set of the
   process that runs the scan.
2. Engines: the same photos by the local engine and by Ray with one and with two workers, timed in the same way, so
   that neither the start of a cluster nor a worker that joins late counts; the folders are compared byte by byte.
3. Slope: seconds per image and memory of the local engine as the number of small images grows.
4. Growth: from 1 and 3, and from the assumptions that are printed beside it, what a million and a billion take.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

SIZES: Final = (0.25, 1.0, 4.0)  # megapixels
SMALL: Final = 96  # pixels a side
TIMED: Final = frozenset({"run.json", "timings.jsonl"})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One scan.

    Attributes:
        images: Number of images.
        per_image: Seconds for one image, in the second half of the scan.
        megabytes: Largest resident set of the process that runs the scan.
        mask_bytes: Mean size of a mask.
        record_bytes: Mean length of a record.
    """

    images: int
    per_image: float
    megabytes: float
    mask_bytes: float
    record_bytes: float


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is not measured here but assumed.

    Attributes:
        megapixels: Of an image.
        megabytes: Of an image's file.
        dollars: For a core (a hardware thread, as clouds count them) and an hour.
        dated: When that was a price.
        writes: Outputs that one process writes and forces to the disk, a second.
    """

    megapixels: float
    megabytes: float
    dollars: float
    dated: str
    writes: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=60, help="photos of each size, and for each engine")
    parser.add_argument("--slope", type=int, nargs="*", default=[1000, 10000], help="numbers of small images")
    parser.add_argument("--no-ray", action="store_true", help="leave out the comparison with Ray")
    parser.add_argument("--megapixels", type=float, default=12.0, help="assumed size of an image")
    parser.add_argument("--megabytes", type=float, default=4.0, help="assumed size of its file")
    parser.add_argument("--dollars", type=float, default=0.045, help="assumed price of a core for an hour")
    parser.add_argument("--dated", default="2026-11, assumed", help="date and source of that price")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        scan_here(*arguments.child)
        return
    with tempfile.TemporaryDirectory(prefix="nclf-benchmark-") as temporary:
        folder = Path(temporary)
        print(machine())
        fixed, per_megapixel, cost = measure_cost(folder, arguments.photos)
        if not arguments.no_ray:
            compare_engines(folder, arguments.photos)
        measure_slope(folder, arguments.slope)
        assumptions = Assumptions(
            megapixels=arguments.megapixels,
            megabytes=arguments.megabytes,
            dollars=arguments.dollars,
            dated=arguments.dated,
            writes=measure_writes(folder),
        )
        print_growth(fixed, per_megapixel, cost, assumptions)


def machine() -> str:
    """Return what the figures were measured on."""
    packages = {}
    for package in ("torch", "ray", "opencv-python"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "not installed"
    versions = ", ".join(f"{package} {number}" for package, number in packages.items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{versions}, Python {platform.python_version()}"
    )


def measure_cost(folder: Path, count: int) -> tuple[float, float, Measured]:
    """Print what images of three sizes cost; return seconds per image, seconds per megapixel, and the largest."""
    print("\n| megapixels | images | s per image | MP/s | memory, MB | mask, bytes | record, bytes |")
    print("|---|---|---|---|---|---|---|")
    seconds = []
    measured = None
    for size in SIZES:
        photos = make_photos(folder / f"photos{size}", count, *sides(size))
        measured = run_scan(photos, folder / "out")
        seconds.append(measured.per_image)
        print(
            f"| {size:g} | {count} | {measured.per_image:.4f} | {size / measured.per_image:.2f} "
            f"| {measured.megabytes:.0f} | {measured.mask_bytes:.0f} | {measured.record_bytes:.0f} |"
        )
    assert measured is not None
    slope, intercept = (float(value) for value in np.polyfit(SIZES, seconds, 1))
    fixed = max(intercept, 0.0)
    print(f"\nseconds = {fixed:.4f} + {slope:.4f} x megapixels, on all {os.cpu_count()} cores")
    return fixed, slope, measured


def compare_engines(folder: Path, count: int) -> None:
    """Print the same scan by the local engine and on Ray, and whether the folders are equal."""
    photos = make_photos(folder / "photos-engines", count, *sides(1.0))
    print(
        "\n| engine | images | s per image | MP/s | memory of the driver, MB | equal bytes |\n|---|---|---|---|---|---|"
    )
    expected: dict[str, bytes] = {}
    for engine, workers in (("local", ""), ("ray", "1"), ("ray", "2")):
        out = folder / "out-engines"
        measured = run_scan(photos, out, engine=engine, workers=workers)
        found = contents(out)
        expected = expected or found
        name = f"{engine}, {workers} worker{'s' if workers == '2' else ''}" if workers else engine
        print(
            f"| {name} | {count} | {measured.per_image:.4f} | {1 / measured.per_image:.2f} "
            f"| {measured.megabytes:.0f} | {'yes' if found == expected else 'NO'} |"
        )


def measure_slope(folder: Path, counts: list[int]) -> None:
    """Print time and memory as the number of images grows."""
    print(f"\n| images of {SMALL} x {SMALL} | s per image | memory, MB |\n|---|---|---|")
    measured = []
    for count in counts:
        photos = make_photos(folder / "photos-slope", count, SMALL, SMALL)
        measured.append(run_scan(photos, folder / "out"))
        shutil.rmtree(photos)
        one = measured[-1]
        print(f"| {count} | {one.per_image:.5f} | {one.megabytes:.0f} |")
    if len(measured) > 1:
        first, last = measured[0], measured[-1]
        grown = (last.megabytes - first.megabytes) * 2**20 / (last.images - first.images)
        print(
            f"\n{last.per_image / first.per_image - 1:+.1%} time per image, {grown:.0f} bytes of memory per image more"
        )


def measure_writes(folder: Path) -> float:
    """Return how many small files a second are written, forced to the disk and renamed, as outputs are."""
    from nclforensics.pipelines.outputs import write_atomic  # noqa: PLC0415 - after the environment is set

    started = time.perf_counter()
    for index in range(200):
        write_atomic(folder / "writes" / f"{index}.png", bytes(4096))
    return 200 / (time.perf_counter() - started)


def print_growth(fixed: float, per_megapixel: float, cost: Measured, assumed: Assumptions) -> None:
    """Print what a million and a billion images take."""
    cores = os.cpu_count() or 1
    core_seconds = (fixed + per_megapixel * assumed.megapixels) * cores
    per_core = cost.megabytes / cores
    print(
        f"\nAssumed: images of {assumed.megapixels:g} MP and {assumed.megabytes:g} MB, {assumed.dollars:g} USD a core "
        f"and hour ({assumed.dated}); cost grows with megapixels as fitted. Measured: {core_seconds:.2f} core-seconds "
        f"an image, {per_core:.0f} MB a core at {SIZES[-1]:g} MP, {assumed.writes:.0f} files a second written by one "
        "thread."
    )
    print("\n| | 1 million | 1 billion |\n|---|---|---|")
    row("core-hours", [core_seconds * count / 3600 for count in (1e6, 1e9)])
    row("USD for these", [core_seconds * count / 3600 * assumed.dollars for count in (1e6, 1e9)])
    for days in (1, 30):
        row(f"64-core machines to finish in {days} d", [core_seconds * n / 86400 / days / 64 for n in (1e6, 1e9)])
    row("input read, TB (twice each)", [2 * assumed.megabytes * count / 1e6 for count in (1e6, 1e9)])
    row("network in 1 day, Gbit/s", [2 * assumed.megabytes * 8 * count / 1e3 / 86400 for count in (1e6, 1e9)])
    row("records, GB", [cost.record_bytes * count / 1e9 for count in (1e6, 1e9)])
    row("masks, GB", [cost.mask_bytes * assumed.megapixels / SIZES[-1] * n / 1e9 for n in (1e6, 1e9)])
    row("hours for one thread to write the masks", [count / assumed.writes / 3600 for count in (1e6, 1e9)])
    busy = assumed.writes * core_seconds
    print(f"\nOne writing thread keeps up with {busy:.0f} cores; the process that runs a scan has up to 8 of them.")


def row(name: str, values: list[float]) -> None:
    """Print a row of the table of growth, to three digits."""
    print(f"| {name} | " + " | ".join(f"{float(f'{value:.3g}'):,.10g}" for value in values) + " |")


def run_scan(photos: Path, out: Path, *, engine: str = "local", workers: str = "") -> Measured:
    """Scan a folder in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, __file__, "--child", str(photos), str(out), engine, workers]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this very file
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def scan_here(photos: str, out: str, engine: str, workers: str) -> None:
    """Scan a folder and print what was measured as a line of JSON; the process ends with it."""
    from nclforensics.cli.torch_environment import prepare_torch  # noqa: PLC0415 - before torch is loaded

    prepare_torch()
    from nclforensics.config import ScanConfig  # noqa: PLC0415
    from nclforensics.networks.weights import load_model  # noqa: PLC0415
    from nclforensics.pipelines.ray_cluster import RaySettings  # noqa: PLC0415
    from nclforensics.pipelines.scan import scan_images  # noqa: PLC0415
    from nclforensics.pipelines.scan_plan import plan_scan  # noqa: PLC0415

    ray = RaySettings(workers=int(workers)) if engine == "ray" else None
    model = load_model()
    config = ScanConfig(device="cpu", min_region=model.min_region)
    plan = plan_scan([Path(photos)], out=Path(out))
    started = time.perf_counter()
    for number, _ in enumerate(scan_images(plan, model, config, ray=ray), start=1):
        if number == len(plan.images) // 2:
            started = time.perf_counter()
    seconds = time.perf_counter() - started
    count = len(plan.images)
    figures: dict[str, Any] = {
        "images": count,
        "per_image": seconds / (count - count // 2),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mask_bytes": sum(path.stat().st_size for path in Path(out).rglob("*.mask.png")) / count,
        "record_bytes": (Path(out) / "results.jsonl").stat().st_size / count,
    }
    print(json.dumps(figures))


def sides(megapixels: float) -> tuple[int, int]:
    """Return height and width of a 4:3 picture."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    return height, round(megapixels * 1e6 / height)


def make_photos(folder: Path, count: int, height: int, width: int) -> Path:
    """Write JPEG photos of smooth random noise with grain, and return their folder."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    grain = generator.normal(0, 6, (height, width, 3)).astype(np.float32)
    for index in range(count):
        coarse = generator.integers(0, 256, (9, 12, 3)).astype(np.float32)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + np.roll(grain, index, axis=1)
        jpeg = cv2.imencode(".jpg", image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        (folder / f"{index:06}.jpg").write_bytes(jpeg.tobytes())
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """Return all files of an output folder that must not depend on when the scan ran."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in TIMED]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


if __name__ == "__main__":
    main()
