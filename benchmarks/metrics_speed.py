"""How long the figures of one image take: every pixel figure together, and the evidence score beside them.

    OMP_NUM_THREADS=2 python benchmarks/metrics_speed.py [--side 1024] [--repeats 9]

"noise" has a million distinct scores, the most work there can be; "network" has the scores of a confident network, most
of them near 0 or 1; "16 bits" has those of a saved score map. The evidence score is what an image is flagged by; it is
part of an evaluation's cost, not of the pixel figures'.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import cv2
import numpy as np

from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.figures import FigureThresholds, figure_names, pixel_figures
from nclforensics.metrics.noscore import scored_pixels
from nclforensics.metrics.pixel import auc, average_precision, best_f1, level_counts
from nclforensics.metrics.regions import evidence_score

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

THRESHOLDS = FigureThresholds(label="fpr5", at_rate=0.6, model=0.9)


def main() -> None:
    """Measure and print one line a map and step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="side of the square image in pixels")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each step, after one that is not timed")
    arguments = parser.parse_args()
    side = arguments.side
    mask = np.zeros((side, side), dtype=np.bool_)
    mask[side // 5 : side // 2, side // 3 : 2 * side // 3] = True
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; numpy {version('numpy')}, "
        f"OpenCV {cv2.__version__} with {cv2.getNumThreads()} threads, Python {platform.python_version()}\n"
        f"{len(figure_names('fpr5'))} figures of {side} x {side} pixels; milliseconds, median of {arguments.repeats}: "
        "elapsed (of processor time)"
    )
    for name, score_map in make_maps(mask).items():
        for step, function in steps(score_map, mask).items():
            elapsed, busy = measure(function, arguments.repeats)
            print(f"{name:8s} {step:34s} {elapsed:7.1f} ({busy:.1f})")


def make_maps(mask: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Return score maps of the mask's shape by name."""
    noise = np.random.default_rng(0).random(mask.shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise - np.float32(0.5), (0, 0), 8)
    logits = smooth / smooth.std() * np.float32(4) + np.where(mask, np.float32(3), np.float32(-8))
    network = np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
    return {"noise": noise, "network": network, "16 bits": np.asarray(np.rint(network * 65535) / 65535, np.float32)}


def steps(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> dict[str, Callable[[], object]]:
    """Return what is timed: everything, then its parts."""
    counts = level_counts(score_map, mask)
    return {
        "all pixel figures": lambda: pixel_figures(score_map, mask, THRESHOLDS),
        "  sort and count": lambda: level_counts(score_map, mask),
        "  AUC, AP and best F1 of the counts": lambda: (auc(counts), average_precision(counts), best_f1(counts)),
        "  one threshold": lambda: confusion_at(score_map, mask, threshold=0.5),
        "  no-score border": lambda: scored_pixels(mask),
        "evidence score": lambda: evidence_score(score_map, min_region=0.005),
    }


def measure(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median milliseconds of a call, elapsed and of processor time, which other programs do not lengthen."""
    elapsed, busy = [], []
    for _ in range(repeats + 1):
        start, start_busy = time.perf_counter(), time.process_time()
        function()
        elapsed.append(1000 * (time.perf_counter() - start))
        busy.append(1000 * (time.process_time() - start_busy))
    return statistics.median(elapsed[1:]), statistics.median(busy[1:])


if __name__ == "__main__":
    main()
