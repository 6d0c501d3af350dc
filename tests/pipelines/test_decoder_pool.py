"""Decoders in processes of their own: what they return, and what becomes of files that crash or hang them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from nclforensics.data.images import read_image
from nclforensics.errors import MissingInputError, UnreadableImageError
from nclforensics.pipelines.decoder_pool import DecoderPool
from tests.factories import make_image

# Stands for the JPEG decoder in the worker: what happens is written at the end of the file that is "decoded".
HOSTILE_DECODER = """
import os, signal, time
import numpy as np

def decode_jpeg_header(data):
    return 30, 41, "RGB", "444"

def decode_jpeg(data, colorspace, strict):
    behaviour = data.rpartition(b"|")[2]
    if behaviour == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == b"hang":
        time.sleep(3600)
    if behaviour == b"swell":
        return np.ones((3, 2**33), np.uint8)
    if behaviour == b"exit":
        os._exit(3)
    if behaviour == b"print":
        os.write(1, b"libjpeg says hello")
    return np.full((30, 41, 3), 7, np.uint8)
"""


def write_jpeg(path: Path, *, behaviour: str = "") -> Path:
    """Write a JPEG of 41 x 30 pixels with a word after its end."""
    ok, data = cv2.imencode(".jpg", make_image(30, 41))
    assert ok
    path.write_bytes(bytes(data) + b"|" + behaviour.encode())
    return path


@pytest.fixture
def hostile_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker processes find another JPEG decoder first."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "simplejpeg.py").write_text(HOSTILE_DECODER)
    monkeypatch.syspath_prepend(str(folder))


def worker_processes() -> set[int]:
    """Return the identifiers of this process's children."""
    own = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            pid, _, rest = status.read_bytes().partition(b" ")
            own += [int(pid)] if int(rest.rpartition(b")")[2].split()[1]) == os.getpid() else []
    return set(own)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_pool_returns_what_read_image_returns(tmp_path: Path, workers: int) -> None:
    """Pixels, digest, notes and orientation are the same from another process, also of a file with an odd name."""
    names = ["a.jpg", 'new\nline "quoted" \udcff.jpg']
    paths = [write_jpeg(tmp_path / name) for name in names]
    with DecoderPool(workers, max_pixels=10_000) as pool:
        futures = [pool.submit(path) for path in paths]
        for path, future in zip(paths, futures, strict=True):
            expected, loaded = read_image(path), future.result()
            assert np.array_equal(expected.pixels, loaded.pixels)
            assert loaded.pixels.flags.writeable == expected.pixels.flags.writeable
            for name in ("sha256", "size_bytes", "format", "decoder", "notes", "orientation"):
                assert getattr(expected, name) == getattr(loaded, name)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_are_those_of_read_image(tmp_path: Path, workers: int) -> None:
    """What cannot be read, is not there or is too large raises the same in both ways of decoding."""
    (tmp_path / "text.jpg").write_text("no image")
    with DecoderPool(workers, max_pixels=1229) as pool:
        with pytest.raises(UnreadableImageError, match=r"text\.jpg: the content is of no known format"):
            pool.submit(tmp_path / "text.jpg").result()
        with pytest.raises(MissingInputError, match=r"none\.jpg"):
            pool.submit(tmp_path / "none.jpg").result()
        with pytest.raises(UnreadableImageError, match="the limit is 1229"):
            pool.submit(write_jpeg(tmp_path / "a.jpg")).result()


@pytest.mark.usefixtures("hostile_decoder")
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crash", "its decoder crashed \\(SIGSEGV\\)"),
        ("exit", "its decoder crashed \\(exit code 3\\)"),
        ("hang", "its decoder was stopped after 2 s"),
        ("swell", "more memory"),
    ],
)
def test_a_hostile_file_costs_one_process(tmp_path: Path, behaviour: str, reason: str) -> None:
    """The file is reported, and the files after it are decoded by a process that replaces the lost one."""
    hostile = write_jpeg(tmp_path / "hostile.jpg", behaviour=behaviour)
    whole = write_jpeg(tmp_path / "whole.jpg")
    with DecoderPool(1, max_pixels=10_000, timeout_s=2) as pool:
        futures = [pool.submit(path) for path in (whole, hostile, whole)]
        assert np.all(futures[0].result().pixels == 7)
        with pytest.raises(UnreadableImageError, match=reason):
            futures[1].result()
        assert np.all(futures[2].result().pixels == 7)


@pytest.mark.usefixtures("hostile_decoder")
def test_what_a_decoder_prints_does_not_disturb_the_answers(tmp_path: Path) -> None:
    """C libraries write to stdout when they feel like it."""
    path = write_jpeg(tmp_path / "a.jpg", behaviour="print")
    with DecoderPool(1, max_pixels=10_000) as pool:
        assert [np.all(pool.submit(path).result().pixels == 7) for _ in range(2)] == [True, True]


def test_a_process_that_was_killed_between_two_images_is_replaced(tmp_path: Path) -> None:
    """The next file is decoded as if nothing had happened."""
    path = write_jpeg(tmp_path / "a.jpg")
    with DecoderPool(1, max_pixels=10_000) as pool:
        pool.submit(path).result()
        (process,) = pool._processes
        process.kill()
        assert pool.submit(path).result().format == "JPEG"


@pytest.mark.usefixtures("hostile_decoder")
def test_leaving_the_pool_ends_its_processes(tmp_path: Path) -> None:
    """Also one that hangs: nobody waits for it, and none is left behind."""
    before = worker_processes()
    path = write_jpeg(tmp_path / "a.jpg", behaviour="hang")
    with DecoderPool(2, max_pixels=10_000) as pool:
        futures = [pool.submit(path) for _ in range(5)]
        while len(worker_processes() - before) < 2:
            time.sleep(0.01)
        time.sleep(0.5)  # by now or soon they hang; either way they must end
        left = time.monotonic()
    assert time.monotonic() - left < 5
    assert worker_processes() == before
    assert all(future.done() for future in futures)


def test_no_process_is_started_before_the_first_image() -> None:
    """A scan that has nothing to decode costs nothing."""
    before = worker_processes()
    with DecoderPool(2, max_pixels=10_000):
        assert worker_processes() == before
