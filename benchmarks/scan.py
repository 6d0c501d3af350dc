"""How fast `nclf scan` is, and how far it stays from what the network alone takes.

    python benchmarks/scan.py [--photos DIR | --count 500 --megapixels 1] [--device cpu] [--overlay] [--score-map]

"network" is the time of the score maps alone, of photos that are already decoded: half of it is measured before the
scan and half after it, so that a machine that is busy for a while counts on both sides. "scan" is everything from the
list of files to the last record: reading, hashing, decoding, scores, regions, PNGs, writing to disk. Without --photos,
photos are made from smooth random noise with grain. Memory is the resident set of this process.
"""

# ruff: noqa: E402 - the environment comes before the imports that read it
from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nclforensics.cli.torch_environment import prepare_torch

prepare_torch()  # before torch and NumPy are loaded, as the command does

import cv2
import numpy as np

from nclforensics.config import ScanConfig
from nclforensics.data.images import read_image
from nclforensics.errors import UnreadableImageError
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import ScanPlan, plan_scan
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.scan_plan import PlannedImage


@dataclass
class Measured:
    """Seconds and pixels of one way through the photos."""

    seconds: float = 0.0
    pixels: int = 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos; default: photos are made")
    parser.add_argument("--count", type=int, default=500, help="number of photos to make")
    parser.add_argument("--megapixels", type=float, default=1.0, help="size of each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--overlay", action="store_true", help="also write overlays")
    parser.add_argument("--score-map", action="store_true", help="also write score maps")
    arguments = parser.parse_args()
    model = load_model()
    config = ScanConfig(
        min_region=model.min_region,
        device=arguments.device,
        overlay=arguments.overlay,
        score_map=arguments.score_map,
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {version('torch')}, "
        f"Python {platform.python_version()}; {model.name} on {arguments.device}"
    )
    print(f"start-up: nclf --help takes {start_up():.2f} s (median of 5)")
    with tempfile.TemporaryDirectory(prefix="nclf-benchmark-") as temporary:
        photos = arguments.photos or make_photos(Path(temporary) / "photos", arguments.count, arguments.megapixels)
        report(plan_scan([photos], out=Path(temporary) / "out"), model, config)


def report(plan: ScanPlan, model: LoadedModel, config: ScanConfig) -> None:
    """Measure network, scan, network, and print the figures."""
    examiner = Examiner(model, config)
    half = len(plan.images) // 2
    network = Measured()
    localize(plan.images[:1], examiner, Measured())  # the first pass is slower: kernels are chosen, memory is taken
    localize(plan.images[:half], examiner, network)
    scan = run_scan(plan, model, config)
    localize(plan.images[half:], examiner, network)
    print(f"network: {network.pixels / 1e6 / network.seconds:.2f} MP/s, {network.seconds:.1f} s")
    print(f"scan:    {scan.pixels / 1e6 / scan.seconds:.2f} MP/s, {scan.seconds:.1f} s, {len(plan.images)} images")
    print(f"scan / network: {scan.seconds / network.seconds:.3f}")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def localize(images: Sequence[PlannedImage], examiner: Examiner, measured: Measured) -> None:
    """Add the time that the score maps of decoded images take."""
    with examiner:
        for image in images:
            try:
                loaded = read_image(image.path)
            except UnreadableImageError:
                continue
            started = time.perf_counter()
            examiner.localize(loaded)
            measured.seconds += time.perf_counter() - started
            measured.pixels += loaded.pixels.size // 3


def run_scan(plan: ScanPlan, model: LoadedModel, config: ScanConfig) -> Measured:
    """Return the time that the whole scan takes; print the memory at five moments."""
    moments = {len(plan.images) * part // 5 for part in range(1, 6)}
    memory = []
    measured = Measured()
    started = time.perf_counter()
    for done, outcome in enumerate(scan_images(plan, model, config), start=1):
        if isinstance(outcome, ScanFinding):
            measured.pixels += outcome.width * outcome.height
        if done in moments:
            memory.append(f"{resident_megabytes():.0f}")
    measured.seconds = time.perf_counter() - started
    print(f"resident memory after each fifth of the images: {', '.join(memory)} MB")
    return measured


def resident_megabytes() -> float:
    """Return the resident set of this process where Linux tells it, else its peak."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_photos(folder: Path, count: int, megapixels: float) -> Path:
    """Write JPEG photos of that size, 4:3, and return their folder."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    grain = generator.normal(0, 6, (height, width, 3)).astype(np.float32)
    for index in range(count):
        coarse = generator.integers(0, 256, (9, 12, 3)).astype(np.float32)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + np.roll(grain, index, axis=1)
        jpeg = cv2.imencode(".jpg", image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        (folder / f"{index:05}.jpg").write_bytes(jpeg.tobytes())
    return folder


def start_up() -> float:
    """Return the median time of `nclf --help` in seconds."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nclforensics", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
