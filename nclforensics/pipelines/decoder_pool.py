"""Decoding ahead of the network, in processes of their own: a file that crashes or hangs its decoder costs one process.

The processes are started fresh when first needed, never forked: a fork of a process in which torch has threads may
deadlock. Pixels come back through a pipe, which unlike shared memory leaves nothing behind when a process is killed,
and does not depend on the size of /dev/shm (64 MiB in a container by default).
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from nclforensics.data.images import LoadedImage, open_image
from nclforensics.errors import MissingInputError, UnreadableImageError
from nclforensics.results import QualityFacts

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_SECONDS: Final = 60.0
STARTING_SECONDS: Final = 120.0
BYTES_PER_SECOND: Final = 5_000_000  # a slow network drive
PIPE_BYTES: Final = 2**20  # as much as Linux lets everybody have
# Our own sys.path, so that the package is found however this process found it; -P: never import from the folder that
# the user happens to be in, which may be the evidence.
_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from nclforensics.pipelines.decoder_worker import serve; serve()"
)
# One thread, and few arenas of malloc, whose address space would count against the limit of memory.
_ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_ERRORS: Final = {kind.__name__: kind for kind in (UnreadableImageError, MissingInputError)}


class DecoderPool:
    """Reads images in other processes; a context manager, which ends them when it is left, busy or not.

    Args:
        workers: Number of processes; 0 decodes in this one, when an image is submitted.
        max_pixels: Images that declare more pixels are refused.
        timeout_s: Seconds that an image may take, beside those that its size allows it.
    """

    def __init__(self, workers: int, *, max_pixels: int, timeout_s: float = TIMEOUT_SECONDS) -> None:
        self._max_pixels = max_pixels
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode") if workers else None
        self._idle: SimpleQueue[_DecoderProcess] = SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[_DecoderProcess] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def submit(self, path: Path) -> Future[LoadedImage]:
        """Start to read an image; the future's result is what `EncodedImage.examine` returns or raises.

        A decoder that crashes, hangs or takes too much memory gives an UnreadableImageError.
        """
        if self._threads is not None:
            return self._threads.submit(self._decode, path)
        future: Future[LoadedImage] = Future()
        try:
            future.set_result(open_image(path, max_pixels=self._max_pixels).examine())
        except Exception as error:  # noqa: BLE001 - handed on to who asks for the result
            future.set_exception(error)
        return future

    def _decode(self, path: Path) -> LoadedImage:
        try:
            return self._decode_once(path)
        except _CrashedError:
            pass  # perhaps it was not for this file that the process ended, but for want of memory on the machine
        try:
            return self._decode_once(path)
        except _CrashedError as error:
            raise UnreadableImageError(str(error)) from error

    def _decode_once(self, path: Path) -> LoadedImage:
        process = self._take()
        try:
            return process.decode(path, max_pixels=self._max_pixels, timeout_s=self._timeout_s)
        finally:
            if process.alive:
                self._idle.put(process)
            else:
                self._remove(process)

    def _take(self) -> _DecoderProcess:
        """Return a process that is idle, or a new one."""
        with suppress(Empty):
            while True:
                process = self._idle.get_nowait()
                if process.alive:
                    return process
                self._remove(process)
        with self._lock:
            if self._closed:
                raise CancelledError
            process = _DecoderProcess()
            self._processes.add(process)
        process.wait_until_ready()
        return process

    def _remove(self, process: _DecoderProcess) -> None:
        with self._lock:
            self._processes.discard(process)
        process.close()


class _CrashedError(Exception):
    """A process ended by itself while it decoded."""


class _DecoderProcess:
    """One process that decodes one image at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            pipesize=PIPE_BYTES,
            start_new_session=True,  # Ctrl-C is for the scan, which ends its processes itself
        )
        self._timed_out = False

    @property
    def alive(self) -> bool:
        """Tell whether the process can be given an image."""
        return not self._timed_out and self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded its libraries, so that this does not count as time for its first image.

        Raises:
            RuntimeError: If it could not be started.
        """
        try:
            self._answer(STARTING_SECONDS)
        except (OSError, ValueError) as error:
            self.kill()
            code = self._process.wait()
            raise RuntimeError(f"A process for decoding did not start ({_signal_name(code)}).") from error

    def decode(self, path: Path, *, max_pixels: int, timeout_s: float) -> LoadedImage:
        """Return what `EncodedImage.examine` returns, or raise what it raises.

        Raises:
            UnreadableImageError: If the process took too long, and was ended.
            _CrashedError: If it ended by itself.
        """
        allowed = timeout_s + _size(path) / BYTES_PER_SECOND
        try:
            self._ask({"path": str(path), "max_pixels": max_pixels})
            answer = self._answer(allowed)
            if "seconds" in answer:
                allowed += answer["seconds"]
                answer = self._answer(allowed)
        except (OSError, ValueError) as error:
            self.kill()
            code = self._process.wait()
            if self._timed_out:
                reason = f"Cannot decode {path}: its decoder was stopped after {allowed:.0f} s."
                raise UnreadableImageError(reason) from error
            raise _CrashedError(f"Cannot decode {path}: its decoder crashed ({_signal_name(code)}).") from error
        if "error" in answer:
            raise _ERRORS[answer["error"]](answer["message"])
        facts = answer["facts"]
        facts["notes"] = tuple(facts["notes"])
        facts["quality"] = QualityFacts(**facts["quality"])
        return LoadedImage(pixels=answer["pixels"], **facts)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process and release its pipes."""
        self.kill()
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next answer, with its pixels if it has any.

        Raises:
            ValueError: If it does not come whole within that time.
        """
        assert isinstance(self._process.stdout, io.BufferedReader)
        watchdog = threading.Timer(seconds, self._time_out)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            if "shape" in answer:
                pixels = np.empty(answer["shape"], np.uint8)
                if self._process.stdout.readinto(pixels.data.cast("B")) != pixels.size:
                    raise ValueError("the pixels stop early")
                answer["pixels"] = pixels
            return answer
        finally:
            watchdog.cancel()

    def _time_out(self) -> None:
        self._timed_out = True
        self.kill()


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
