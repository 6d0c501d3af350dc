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
from typing import TYPE_CHECKING, Any, Final, Self

from nclforensics.data.images import LoadedImage, sha256_of
from nclforensics.errors import MissingInputError, UnreadableImageError
from nclforensics.pipelines.outputs import output_names, remove_file, write_atomic
from nclforensics.pipelines.remote_inputs import InputReader
from nclforensics.pipelines.resume import still_holds
from nclforensics.results import ScanFinding, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from nclforensics.config import ScanConfig
    from nclforensics.pipelines.examination import Examiner
    from nclforensics.pipelines.inference import Localization
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


class LocalEngine:
    """Scans on this machine; a context manager, which holds what the examiner changes for the whole process.

    Args:
        examiner: Computes.

    Attributes:
        conditions: Settings, device and threads, for the record.
        description: What `run.json` says about the engine.
    """

    def __init__(self, examiner: Examiner) -> None:
        self.conditions = examiner
        self.description: dict[str, Any] = {"name": "local"}

    def __enter__(self) -> Self:
        self.conditions.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.conditions.__exit__(*error)

    def run(
        self,
        plan: ScanPlan,
        records: ScanRecords,
        earlier: EarlierRecords | None,
        should_stop: Callable[[], bool],
    ) -> Generator[Outcome]:
        """Scan the planned images; arguments and errors are those of `ScanEngine`."""
        return ScanEngine(plan, self.conditions, records, earlier).run(should_stop)


class OutcomeRecorder:
    """Writes the outputs of images as they come, and records the outcomes one after the other; a context manager.

    Args:
        plan: Names the output folder.
        config: The settings in force.
        records: Where each outcome is appended.
        resumed: Whether the run goes on with an earlier one.

    Attributes:
        writers: Threads for everything that must not hold up the calling one.
    """

    def __init__(self, plan: ScanPlan, config: ScanConfig, records: ScanRecords, *, resumed: bool) -> None:
        self._out = plan.out
        self._config = config
        self._records = records
        self._resumed = resumed
        self._unrecorded: dict[str, list[str]] = {}  # the files of each image that has no record yet
        self._broken = False
        self.writers = ThreadPoolExecutor(WORKERS, thread_name_prefix="write")
        self._recorder = ThreadPoolExecutor(1, thread_name_prefix="record")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # In this order: nothing new is written, then the recorder sees what became of the rest.
        self.writers.shutdown(cancel_futures=True)
        self._recorder.shutdown()
        for names in self._unrecorded.values():  # what has no record must not look like a result
            for name in names:
                remove_file(self._out / name)

    def write(self, image: PlannedImage, files: dict[str, bytes]) -> None:
        """Write the outputs of an image, none if it was skipped; if no record follows, they are removed at the end.

        Raises:
            OutputError: If one cannot be written.
        """
        if self._resumed:  # a scan that was killed may have left files of an image that is skipped now
            for name in output_names(image.name, self._config):
                remove_file(self._out / name)
        written = self._unrecorded[image.name] = []
        for name, content in files.items():
            write_atomic(self._out / name, content)
            written.append(name)

    def record(self, image: PlannedImage, written: Future[tuple[Outcome, float | None]]) -> Future[Outcome]:
        """Append an outcome, once it is there and those before it are appended; to be called in the plan's order.

        Args:
            image: The image.
            written: What was found and the seconds it took, None if it was found before the run was resumed.
        """
        return self._recorder.submit(self._record, image, written)

    def _record(self, image: PlannedImage, written: Future[tuple[Outcome, float | None]]) -> Outcome:
        """Append an outcome to the records; after a failure none follows, since they are in the plan's order."""
        broken, self._broken = self._broken, True  # until the record is there
        outcome, seconds = written.result()
        if broken:
            raise CancelledError
        self._records.add(outcome, seconds=seconds)
        self._unrecorded.pop(image.name, None)
        self._broken = False
        return outcome


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
            self._decoders = stack.enter_context(InputReader(DECODERS, max_pixels=max_pixels))
            recorder = OutcomeRecorder(
                self._plan, self._examiner.config, self._records, resumed=self._earlier is not None
            )
            self._recorder = stack.enter_context(recorder)
            self._writers = recorder.writers
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
        if len(under_way) >= IMAGES_UNDER_WAY or is_large_file(image.path):
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
        job.recorded = self._recorder.record(job.image, job.outcome)
        self._behind.append(job)

    def _examined(self, job: _Job, start: float) -> Future[tuple[Outcome, float | None]]:
        image = job.image
        try:
            if image.problem is not None:
                raise UnreadableImageError(image.problem)
            if job.loaded is None:
                job.loaded = self._decoders.submit(image.path)
            loaded = job.loaded.result()
            localization = self._examiner.localize(loaded)
        except IMAGE_ERRORS as error:
            return self._writers.submit(self._skip, image, error, start)
        return self._writers.submit(self._write, image, loaded, localization, start)

    def _write(
        self, image: PlannedImage, loaded: LoadedImage, localization: Localization, start: float
    ) -> tuple[Outcome, float]:
        try:
            finding, files = concluded(self._examiner, image, loaded, localization)
        except IMAGE_ERRORS as error:
            return self._skip(image, error, start)
        self._recorder.write(image, files)
        return finding, time.perf_counter() - start

    def _skip(self, image: PlannedImage, error: Exception, start: float) -> tuple[Outcome, float]:
        self._recorder.write(image, {})
        return skipped(image.path, error), time.perf_counter() - start

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


def concluded(
    examiner: Examiner, image: PlannedImage, loaded: LoadedImage, localization: Localization
) -> tuple[ScanFinding, dict[str, bytes]]:
    """Return the finding about an image that is still as it was read, and the output files by their names.

    Raises:
        MemoryError: If there is not enough of it.
        UnreadableImageError: If it can no longer be read, or is no longer the one that was read.
    """
    finding, files = examiner.conclude(image, loaded, localization)
    try:
        after = sha256_of(image.path)
    except OSError as error:
        reason = error.strerror or error
        raise UnreadableImageError(f"Cannot read {image.path} again after it was scanned: {reason}.") from error
    if after != loaded.sha256:
        raise UnreadableImageError(
            f"{image.path} changed while it was scanned: sha256 {loaded.sha256[:12]}... before, {after[:12]}... after."
        )
    return dataclasses.replace(finding, sha256_after=after), files


def skipped(path: Path, error: Exception) -> SkippedImage:
    """Return the record of an image that could not be scanned."""
    sha256, size = None, None
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # to open a pipe would wait for somebody to write into it
            sha256, size = sha256_of(path), status.st_size
    except (OSError, ValueError):
        pass
    return SkippedImage(path=str(path), reason=str(error), error=type(error).__name__, sha256=sha256, size_bytes=size)


def is_large_file(path: Path) -> bool:
    """Return whether a file may hold so many pixels that it is read alone."""
    try:
        return path.stat().st_size > LARGE_FILE
    except (OSError, ValueError):
        return False
