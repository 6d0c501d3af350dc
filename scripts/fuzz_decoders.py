"""Coverage-guided fuzzing of what reads hostile bytes: the decoder layer, and the log that a resumed scan reads.

    pip install atheris
    python scripts/fuzz_decoders.py --minutes 20

Seeds are the encodings of the tests, whole and damaged, and lines of `results.jsonl`. An input may be decoded or
refused with UnreadableImageError; any other exception, a crash, more than 30 s or 4 GB is a finding, and libFuzzer
leaves the input as `crash-*`, `timeout-*` or `oom-*` in the folder of inputs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
with atheris.instrument_imports(include=["nclforensics", "tifffile"]):
    from nclforensics.data.images import checked_image
    from nclforensics.errors import UnreadableImageError
    from nclforensics.pipelines.outputs import RESULTS_FILE
    from nclforensics.pipelines.records import record_line
    from nclforensics.pipelines.resume import EarlierRecords
    from nclforensics.results import SkippedImage
from tests.data.encodings import encodings
from tests.data.hostile import lying_files, misleading_files, truncated_files

MOST_PIXELS = 1_000_000
NAME = Path("fuzzed.jpg")


def fuzz(data: bytes) -> None:
    """Read bytes as an image and as a log."""
    read_log(data)
    try:
        pixels = checked_image(NAME, data, max_pixels=MOST_PIXELS).examine().pixels
    except UnreadableImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3  # noqa: PLR2004 - height, width, colours
    assert pixels.shape[2] == 3  # noqa: PLR2004


def read_log(data: bytes) -> None:
    """Read bytes as the records of a scan that is resumed; each line is a record, torn or unreadable."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        out = Path(folder)
        (out / RESULTS_FILE).write_bytes(data)
        records = EarlierRecords(out)
        lines = data.count(b"\n")
        assert len(records) + records.unreadable_lines <= lines
        assert records.torn_bytes == len(data) - (data.rfind(b"\n") + 1)


def write_seeds(folder: Path) -> None:
    """Write the inputs that the fuzzer begins with."""
    folder.mkdir(parents=True, exist_ok=True)
    skipped = SkippedImage(path="a.jpg", reason="none", error="UnreadableImageError", sha256=None, size_bytes=0)
    lines = [record_line(skipped), record_line(dataclasses.replace(skipped, path='"\n\udcff'))]
    log = {"results.jsonl": "".join(line + "\n" for line in lines).encode()}
    for name, content in {**encodings(), **truncated_files(), **lying_files(), **misleading_files(), **log}.items():
        if len(content) < 2**16:
            (folder / name).write_bytes(content)


def main() -> None:
    """Fuzz for so many minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--inputs", type=Path, default=Path(tempfile.gettempdir()) / "nclf-fuzz")
    arguments = parser.parse_args()
    write_seeds(arguments.inputs)
    limits = ["-timeout=30", "-rss_limit_mb=4096", "-max_len=65536", f"-artifact_prefix={arguments.inputs}/"]
    seconds = f"-max_total_time={round(60 * arguments.minutes)}"
    atheris.Setup([sys.argv[0], str(arguments.inputs), seconds, *limits], fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
