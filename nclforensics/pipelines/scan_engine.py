"""The stages of a scan side by side: images are read ahead of the network, and concluded and written behind it.

    read (processes) -> localize (the calling thread) -> conclude and write (threads) -> record (one thread, plan order)

While the network computes one image, the next ones are decoded and the last ones are encoded, hashed and written. The
number of images and of pixels under way is bounded, so memory does not grow with the number of images.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import time
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nclforensics.data.images import LoadedImage, sha256_of
from nclforensics.errors import MissingInputError, OutputError, UnreadableImageError
from nclforensics.pipelines.decoder_pool import DecoderPool
from nclforensics.pipelines.outputs import remove_outputs, write_atomic
from nclforensics.pipelines.resume import still_holds
from nclforensics.results import ScanFinding, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.pipelines.examination import Examiner
    from nclforensics.pipelines.records import ScanRecords
    from nclforensics.pipelines.resume import EarlierRecords
    from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan
    from nclforensics.results import Outcome

# More than half of the cores for decoding or for writing would take from the network what it computes with.
WORKERS: Final = max(1, min(8, (os.cpu_count() or 1) // 2))
DECODERS: Final = WORKERS
IMAGES_UNDER_WAY: Final = 2 * WORKERS + 2
PIXELS_UNDER_WAY: Final = 2**26  # at about 20 bytes a pixel, beside what the network takes for a tile
LARGE_FILE: Final = 2**25  # how many pixels it holds is known only once it is read, so it is read alone
# What goes wrong with one image, and is no reason to stop the scan.
IMAGE_ERRORS: Final = (UnreadableImageError, MissingInputError, MemoryError, OSError)


@dataclass
class _Job:
    """An image under way."""

    image: PlannedImage
    earlier: Future[ScanFinding | None] | None = None
    loaded: Future[LoadedImage] | None = None
    outcome: Future[tuple[Outcome, float | None]] | None = None
    recorded: Future[Outcome] | None = None

    def pixels(self) -> int:
        """Return how many pixels the image holds in memory, as far as that is known."""
        if self.loaded is None or not self.loaded.done() or self.loaded.cancelled() or self.loaded.exception():
            return 0
        return self.loaded.result().pixels.size // 3


class ScanEngine:
    """Runs the stages of one scan.

    Args:
        plan: What to scan.
        examiner: Computes; used by the calling thread, and by those that write.
        records: Where each outcome is appended, in the order of the plan.
        earlier: Records of the run that is resumed, or None.
    """

    def __init__(
        self, plan: ScanPlan, examiner: Examiner, records: ScanRecords, earlier: EarlierRecords | None
    ) -> None:
        self._plan = plan
        self._examiner = examiner
        self._records = records
        self._earlier = earlier
        self._waiting = iter(plan.images)
        self._next: PlannedImage | None = next(self._waiting, None)
        self._ahead: deque[_Job] = deque()
        self._behind: deque[_Job] = deque()
        self._broken = False

    def run(self, should_stop: Callable[[], bool]) -> Generator[Outcome]:
        """Scan the planned images; each outcome is recorded before it is yielded.

        Args:
            should_stop: Asked before each image. If true, images that the network has seen are finished, the others
                dropped.

        Raises:
            KeyboardInterrupt: If the scan was stopped that way.
            OutputError: If a result cannot be written.
        """
        with self._threads():
            while self._next or self._ahead or self._behind:
                if should_stop():
                    yield from self._finish_those_behind()
                    raise KeyboardInterrupt
                self._admit()
                if self._ahead:
                    self._advance(self._ahead.popleft())
                yield from self._recorded(wait=not self._ahead)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        with ExitStack() as stack:
            max_pixels = self._examiner.config.max_pixels
            self._decoders = stack.enter_context(DecoderPool(DECODERS, max_pixels=max_pixels))
            self._writers = ThreadPoolExecutor(WORKERS, thread_name_prefix="write")
            self._recorder = ThreadPoolExecutor(1, thread_name_prefix="record")
            # Left in the opposite order: nothing new is written, then the recorder sees what became of the rest.
            stack.callback(self._recorder.shutdown)
            stack.callback(self._writers.shutdown, cancel_futures=True)
            yield

    def _admit(self) -> None:
        """Start to read as many images as may be under way."""
        while self._next is not None and self._has_room(self._next):
            job = _Job(self._next)
            line = None if self._earlier is None else self._earlier.line_of(job.image.path)
            if line is not None:
                job.earlier = self._writers.submit(
                    still_holds, line, job.image, self._examiner.config, out=self._plan.out
                )
            elif job.image.problem is None:
                job.loaded = self._decoders.submit(job.image.path)
            self._ahead.append(job)
            self._next = next(self._waiting, None)

    def _has_room(self, image: PlannedImage) -> bool:
        under_way = [*self._ahead, *self._behind]
        if not under_way:
            return True
        if len(under_way) >= IMAGES_UNDER_WAY or _is_large_file(image.path):
            return False
        return sum(job.pixels() for job in under_way) < PIXELS_UNDER_WAY

    def _advance(self, job: _Job) -> None:
        """Localize one image and hand it on to be concluded, written and recorded."""
        start = time.perf_counter()
        kept = job.earlier.result() if job.earlier is not None else None
        if kept is not None:
            job.outcome = self._writers.submit(lambda: (kept, None))
        else:
            job.outcome = self._examined(job, start)
        job.recorded = self._recorder.submit(self._record, job.image, job.outcome)
        self._behind.append(job)

    def _examined(self, job: _Job, start: float) -> Future[tuple[Outcome, float | None]]:
        image = job.image
        try:
            if image.problem is not None:
                raise UnreadableImageError(image.problem)
            if job.loaded is None:
                job.loaded = self._decoders.submit(image.path)
            loaded = job.loaded.result()
            score_map = self._examiner.localize(loaded)
        except IMAGE_ERRORS as error:
            return self._writers.submit(self._skip, image, error, start)
        return self._writers.submit(self._write, image, loaded, score_map, start)

    def _write(
        self, image: PlannedImage, loaded: LoadedImage, score_map: NDArray[np.float32], start: float
    ) -> tuple[Outcome, float]:
        try:
            finding, files = self._examiner.conclude(image, loaded, score_map)
            after = _unchanged(image.path, loaded)
        except IMAGE_ERRORS as error:
            return self._skip(image, error, start)
        self._remove_earlier(image)
        try:
            for name, content in files.items():
                write_atomic(self._plan.out / name, content)
        except OutputError:
            remove_outputs(self._plan.out, image.name)  # without all of them there is no record
            raise
        return dataclasses.replace(finding, sha256_after=after), time.perf_counter() - start

    def _skip(self, image: PlannedImage, error: Exception, start: float) -> tuple[Outcome, float]:
        self._remove_earlier(image)
        return _skipped(image.path, error), time.perf_counter() - start

    def _remove_earlier(self, image: PlannedImage) -> None:
        if self._plan.replace or self._earlier is not None:
            remove_outputs(self._plan.out, image.name)

    def _record(self, image: PlannedImage, written: Future[tuple[Outcome, float | None]]) -> Outcome:
        """Append an outcome to the records; after a failure none follows, since they are in the plan's order."""
        broken, self._broken = self._broken, True  # until the record is there
        outcome, seconds = written.result()
        if broken:
            if seconds is not None:  # what has no record must not look like a result
                remove_outputs(self._plan.out, image.name)
            raise CancelledError
        self._records.add(outcome, seconds=seconds)
        self._broken = False
        return outcome

    def _recorded(self, *, wait: bool) -> Iterator[Outcome]:
        """Yield the outcomes that are recorded by now; if nothing else can be done, wait for one."""
        while self._behind:
            recorded = self._behind[0].recorded
            assert recorded is not None
            if not wait and not recorded.done():
                return
            wait = False
            self._behind.popleft()
            yield recorded.result()

    def _finish_those_behind(self) -> Iterator[Outcome]:
        while self._behind:
            yield from self._recorded(wait=True)


def _is_large_file(path: Path) -> bool:
    try:
        return path.stat().st_size > LARGE_FILE
    except (OSError, ValueError):
        return False


def _unchanged(path: Path, loaded: LoadedImage) -> str:
    """Return the digest of the file as it is now.

    Raises:
        UnreadableImageError: If it is no longer the one that was read.
    """
    after = sha256_of(path)
    if after != loaded.sha256:
        raise UnreadableImageError(
            f"{path} changed while it was scanned: sha256 {loaded.sha256[:12]}... before, {after[:12]}... after."
        )
    return after


def _skipped(path: Path, error: Exception) -> SkippedImage:
    sha256, size = None, None
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # to open a pipe would wait for somebody to write into it
            sha256, size = sha256_of(path), status.st_size
    except (OSError, ValueError):
        pass
    return SkippedImage(path=str(path), reason=str(error), error=type(error).__name__, sha256=sha256, size_bytes=size)
