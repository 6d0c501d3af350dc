"""Kill a scan at random moments, resume it each time, and compare the outcome with an undisturbed scan.

    python scripts/kill_test.py [--times 50] [--photos 24] [--side 256] [--seed 0] [--weights NAME]

Each time a new scan is started in a process of its own and killed with SIGKILL at a moment drawn from its whole life,
start-up included; so are, with a chance of one third, its resumed runs. In the end all files but run.json and
timings.jsonl, which hold times, must be those of the undisturbed scan, byte for byte, and none may be left over. A
killed scan must have lost no more than the images under way.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from nclforensics.pipelines.scan_engine import IMAGES_UNDER_WAY

TIMED = frozenset({"run.json", "timings.jsonl"})


def main() -> None:
    """Run the trials and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="number of scans")
    parser.add_argument("--photos", type=int, default=24, help="photos a scan")
    parser.add_argument("--side", type=int, default=256, help="their sides in pixels")
    parser.add_argument("--seed", type=int, default=0, help="draws photos and moments")
    parser.add_argument("--weights", default=None, help="model to scan with; default: the bundled one")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    options = [] if arguments.weights is None else ["--weights", arguments.weights]
    with tempfile.TemporaryDirectory(prefix="nclf-kill-") as temporary:
        folder = Path(temporary)
        write_photos(folder / "photos", count=arguments.photos, side=arguments.side, seed=arguments.seed)
        started = time.monotonic()
        scan(folder, "undisturbed", options)
        lifetime = time.monotonic() - started
        kills = 0
        for trial in range(arguments.times):
            made = disturbed_scan(folder, options, lifetime=lifetime, dice=dice)
            kills += made
            print(f"{trial + 1}: killed {made} times, resumed, identical")
    print(f"{arguments.times} scans of {arguments.photos} photos, {kills} kills: all identical to the undisturbed scan")


def write_photos(folder: Path, *, count: int, side: int, seed: int) -> None:
    """Write smooth random photos, every third as JPEG, and one file that is no photo."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for index in range(count - 1):
        coarse = generator.integers(0, 256, (7, 5, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side + index), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:03}.{'jpg' if index % 3 == 0 else 'png'}"), image)
    (folder / "none.jpg").write_bytes(b"not a photo")


def disturbed_scan(folder: Path, options: list[str], *, lifetime: float, dice: random.Random) -> int:
    """Kill and resume a scan until it ends, compare it with the undisturbed one, and return how often it was killed.

    Raises:
        AssertionError: If anything differs.
    """
    shutil.rmtree(folder / "disturbed", ignore_errors=True)
    kills = int(scan(folder, "disturbed", options, kill_after=dice.uniform(0, lifetime)))
    _assert_little_was_lost(folder / "disturbed")
    while dice.random() < 1 / 3:
        kills += int(scan(folder, "disturbed", [*options, "--resume"], kill_after=dice.uniform(0, lifetime)))
    scan(folder, "disturbed", [*options, "--resume"])
    expected, found = contents(folder / "undisturbed"), contents(folder / "disturbed")
    assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
    assert not [name for name in expected if found[name] != expected[name]]
    return kills


def scan(folder: Path, out: str, options: list[str], *, kill_after: float | None = None) -> bool:
    """Scan `photos` into a folder beside it, in a process of its own; return whether it was killed.

    Raises:
        AssertionError: If it ends in another way than by being killed or with 17, for the file that is no photo.
    """
    command = [sys.executable, "-m", "nclforensics", "scan", "photos", "--out", out, "--device", "cpu", "--overlay"]
    with subprocess.Popen([*command, *options], cwd=folder, stderr=subprocess.PIPE) as process:  # noqa: S603 - ours
        try:
            _, errors = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
    killed = process.returncode == -signal.SIGKILL
    assert killed or process.returncode == 17, errors.decode()  # noqa: PLR2004 - some images were skipped
    return killed


def contents(out: Path) -> dict[str, bytes]:
    """Return all files of an output folder that must not depend on when the scan ran."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in TIMED]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def _assert_little_was_lost(out: Path) -> None:
    """Check that whatever was written is also recorded, but for the images under way."""
    if not (out / "results.jsonl").exists():
        return
    records = (out / "results.jsonl").read_bytes().count(b"\n")
    assert len(list(out.glob("*.mask.png"))) - records <= IMAGES_UNDER_WAY


if __name__ == "__main__":
    main()
