"""Scan one image of up to 1 gigapixel with `nclf scan`, and print its time and the memory of all its processes.

    python benchmarks/gigapixel.py PHOTOS [--megapixels 1000] [--quality 90] [--weights NAME|DIR] [--precision bf16]

The image is one JPEG, put together from the photos of a folder, each enlarged or cut to a cell of 1024 x 1024 pixels. A
quarter of its side is copied from one corner to the middle, so that the copies' part of the scan has work, which is its
most expensive case. Memory is the sum of the proportional set sizes (PSS) of the command and the processes it starts,
read from /proc every two seconds (Linux only). About 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.images import find_images, read_image
from nclforensics.errors import NclfError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CELL: Final = 1024  # pixels a side
INTERVAL: Final = 2.0  # seconds between two readings of the memory


def main() -> None:
    """Make the image, scan it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos that the image is put together from")
    parser.add_argument("--megapixels", type=float, default=1000.0)
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality of the image")
    parser.add_argument("--weights", help="a model, as for nclf scan")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {version('torch')}")
    with tempfile.TemporaryDirectory(prefix="nclf-benchmark-", dir=Path.cwd()) as temporary:
        image = Path(temporary) / "gigapixel.jpg"
        write_mosaic(arguments.photos, image, arguments.megapixels, arguments.quality)
        scan(image, Path(temporary) / "out", arguments.weights, arguments.precision)


def write_mosaic(photos: Path, target: Path, megapixels: float, quality: int) -> None:
    """Write the photos side by side as one JPEG."""
    side = int((megapixels * 1e6) ** 0.5)
    mosaic = np.zeros((side, side, 3), np.uint8)
    cells = squares(photos)
    for top in range(0, side, CELL):
        for left in range(0, side, CELL):
            room = mosaic[top : top + CELL, left : left + CELL]
            room[...] = next(cells)[: room.shape[0], : room.shape[1]]
    quarter = side // 4
    mosaic[side // 2 : side // 2 + quarter, side // 2 : side // 2 + quarter] = mosaic[:quarter, :quarter]
    ok, jpeg = cv2.imencode(".jpg", mosaic, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise SystemExit(f"OpenCV could not write {side} x {side} pixels as JPEG.")
    target.write_bytes(jpeg.tobytes())
    print(f"{side} x {side} pixels, JPEG {quality}, {jpeg.nbytes / 1e6:.0f} MB", flush=True)


def squares(photos: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield each photo's middle as uint8 (CELL, CELL, 3) BGR, again and again."""
    for path in cycle(find_images(photos)):
        try:
            pixels = read_image(path).pixels
        except NclfError:
            continue
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = np.ascontiguousarray(pixels[top : top + side, left : left + side, ::-1])
        interpolation = cv2.INTER_AREA if side > CELL else cv2.INTER_CUBIC
        yield np.asarray(cv2.resize(square, (CELL, CELL), interpolation=interpolation), np.uint8)


def scan(image: Path, out: Path, weights: str | None, precision: str) -> None:
    """Run the command on the image and print time, peak memory, and the record's main fields."""
    command = [sys.executable, "-m", "nclforensics", "scan", str(image), "--out", str(out), "--quiet"]
    command += ["--precision", precision]
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        command + (["--weights", weights] if weights else [])
    )
    readings = []
    while process.poll() is None:
        readings.append((time.perf_counter() - started, tree_megabytes(process.pid)))
        time.sleep(INTERVAL)
    peak_at, peak = max(readings, key=lambda reading: reading[1])
    print(f"exit status {process.returncode}, {time.perf_counter() - started:.0f} s")
    print(f"peak memory of all processes: {peak:.0f} MB, after {peak_at:.0f} s")
    for minute in range(0, len(readings), int(60 * 2 / INTERVAL)):
        print(f"  after {readings[minute][0]:5.0f} s: {readings[minute][1]:6.0f} MB")
    for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        print({key: record.get(key) for key in ("width", "height", "decision", "reason", "image_score", "tiles")})
    print("written:", ", ".join(f"{p.name} {p.stat().st_size} bytes" for p in sorted(out.rglob("*")) if p.is_file()))


def tree_megabytes(root: int) -> float:
    """Return the proportional set size of a process and everything below it in MB (10^6 bytes)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(
                    (entry / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[1]
                )
            except OSError:  # gone
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    total, todo = 0.0, [root]
    while todo:
        process = todo.pop()
        todo += parents.get(process, [])
        try:
            rollup = (Path("/proc") / str(process) / "smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e6
    return total


if __name__ == "__main__":
    main()
