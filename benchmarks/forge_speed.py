"""How many training samples a second the forge makes on one core, once the photos are decoded.

python benchmarks/forge_speed.py --photos DIR [--size 256] [--count 1000]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import cv2

from nclforensics.config import ForgeConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool

ROUND = 100  # samples between two readings of the clocks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pristine photos")
    parser.add_argument("--size", type=int, default=256, help="side of a sample in pixels")
    parser.add_argument("--count", type=int, default=1000, help="number of samples, in rounds of 100")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    pool = PhotoPool.from_folder(arguments.photos)
    started = time.perf_counter()
    pool.preload()
    decoded = time.perf_counter() - started
    forge = Forge(pool, ForgeConfig(size=arguments.size), 0)
    kinds: Counter[str] = Counter()
    wall, busy = [], []
    for first in range(0, arguments.count, ROUND):
        wall_start, busy_start = time.perf_counter(), time.process_time()
        kinds.update(forge.sample(index).kind for index in range(first, first + ROUND))
        wall.append(ROUND / (time.perf_counter() - wall_start))
        busy.append(ROUND / (time.process_time() - busy_start))
    print(
        f"{len(pool)} photos, decoded in {decoded:.1f} s; {sum(kinds.values())} samples of "
        f"{arguments.size} x {arguments.size}: {dict(kinds)}\n"
        f"{statistics.median(wall):.0f} samples/s by the clock, {statistics.median(busy):.0f} samples a second of "
        f"processor time (medians of rounds of {ROUND})\n"
        f"{platform.machine()}, one thread; OpenCV {version('opencv-python')}, numpy {version('numpy')}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
