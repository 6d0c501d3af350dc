"""The scan on Ray: which worker gets which image, what happens when one dies, and one record for each image.

    plan -> waiting -> on a worker (a few each) -> written (threads here) -> recorded (one thread, plan order)

Workers read and compute; this process writes files and records, through the same recorder as the scan on one machine.
So each image has one record, in the plan's order, whoever scanned it and however often it was tried.

An image whose worker died is tried again, alone on a worker: if that one dies too, it was not for a neighbour. After
`ATTEMPTS` it becomes a skipped record. Nothing else of the scan is held up by it.
"""

from __future__ import annotations

import heapq
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

from nclforensics.errors import UnreadableImageError
from nclforensics.pipelines.ray_cluster import Answer, RaySettings, RayWorkers
from nclforensics.pipelines.resume import still_holds
from nclforensics.pipelines.scan_engine import IMAGES_UNDER_WAY, OutcomeRecorder, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.examination import Examiner
    from nclforensics.pipelines.ray_loads import WorkerLoads
    from nclforensics.pipelines.ray_worker import Examined
    from nclforensics.pipelines.records import ScanRecords
    from nclforensics.pipelines.resume import EarlierRecords
    from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan
    from nclforensics.results import Outcome, ScanFinding

ATTEMPTS: Final = 3
# How far the workers may be ahead of the record that comes next. Finished images wait there as records alone, their
# files being written; a killed scan scans them again.
WINDOW: Final = 128  # images a worker: one that takes so many times the mean holds up nobody
POLL_SECONDS: Final = 0.1


class Workers(Protocol):
    """What the scan asks of workers; `RayWorkers` has the meaning of each."""

    load: WorkerLoads
    in_flight: int

    @property
    def busy(self) -> bool: ...  # noqa: D102 - see above

    def submit(self, worker: int, task: int, image: PlannedImage) -> None: ...  # noqa: D102

    def answers(self, timeout: float) -> list[Answer]: ...  # noqa: D102

    def stop_replacing(self) -> None: ...  # noqa: D102


class RayEngine:
    """Scans on the workers of a Ray cluster; a context manager, which starts and ends them.

    Args:
        settings: Where to find the cluster.
        plan: What will be scanned.
        model: The model.
        config: Settings.

    Raises:
        DeviceUnavailableError: If Ray is not installed.
        UsageError: If a worker cannot have that device.
    """

    def __init__(self, settings: RaySettings, plan: ScanPlan, model: LoadedModel, config: ScanConfig) -> None:
        self._workers = RayWorkers(settings, model, config, plan)

    @property
    def conditions(self) -> Examiner:
        """Return settings, device and threads of the workers, for the record."""
        return cast("Examiner", self._workers.conditions)  # the record reads just these three

    @property
    def description(self) -> dict[str, Any]:
        """Return what `run.json` says about the engine."""
        return self._workers.description

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)

    def run(
        self,
        plan: ScanPlan,
        records: ScanRecords,
        earlier: EarlierRecords | None,
        should_stop: Callable[[], bool],
    ) -> Generator[Outcome]:
        """Scan the planned images; arguments and errors are those of `ScanEngine`, beside those of `RayWorkers`."""
        config = self._workers.conditions.config
        return ClusterScan(plan, config, self._workers, records, earlier).run(should_stop)


@dataclass
class _Job:
    """An image that is planned and has no record yet."""

    index: int
    image: PlannedImage
    earlier: Future[ScanFinding | None] | None = None
    attempts: int = 0
    written: Future[tuple[Outcome, float | None]] | None = None


class ClusterScan:
    """Hands out the images of one scan and collects what is found.

    Args:
        plan: What to scan.
        config: The settings in force.
        workers: Who scans.
        records: Where each outcome is appended, in the order of the plan.
        earlier: Records of the run that is resumed, or None.
    """

    def __init__(
        self,
        plan: ScanPlan,
        config: ScanConfig,
        workers: Workers,
        records: ScanRecords,
        earlier: EarlierRecords | None,
    ) -> None:
        self._plan = plan
        self._config = config
        self._workers = workers
        self._records = records
        self._earlier = earlier
        self._planned = enumerate(plan.images)
        self._next: tuple[int, PlannedImage] | None = next(self._planned, None)
        self._jobs: deque[_Job] = deque()  # in the plan's order
        self._checked: deque[_Job] = deque()  # those that an earlier run has a record of
        self._waiting: list[tuple[int, _Job]] = []  # heaps
        self._suspects: list[tuple[int, _Job]] = []
        self._under_way: dict[int, _Job] = {}
        self._alone: set[int] = set()
        self._writing: dict[Future[tuple[Outcome, float | None]], None] = {}  # an ordered set
        self._behind: deque[Future[Outcome]] = deque()

    def run(self, should_stop: Callable[[], bool]) -> Generator[Outcome]:
        """Scan the planned images; each outcome is recorded before it is yielded.

        Args:
            should_stop: Asked again and again. Once it is true, no image is begun, and those on workers are finished.

        Raises:
            KeyboardInterrupt: If the scan was stopped that way.
            OutputError: If a result cannot be written.
        """
        resumed = self._earlier is not None
        with OutcomeRecorder(self._plan, self._config, self._records, resumed=resumed) as self._recorder:
            while self._next or self._jobs or self._behind:
                if should_stop():
                    yield from self._drain()
                    raise KeyboardInterrupt
                self._admit()
                self._assign()
                self._collect()
                yield from self._recorded()

    def _admit(self) -> None:
        """Take as many images from the plan as may be under way; what an earlier run found of them is checked."""
        window = WINDOW * max(1, len(self._workers.load))
        while self._next is not None and len(self._jobs) + len(self._behind) < window:
            job = _Job(*self._next)
            line = None if self._earlier is None else self._earlier.line_of(job.image.path)
            if line is None:
                heapq.heappush(self._waiting, (job.index, job))
            else:
                job.earlier = self._recorder.writers.submit(
                    still_holds, line, job.image, self._config, out=self._plan.out
                )
                self._checked.append(job)
            self._jobs.append(job)
            self._next = next(self._planned, None)

    def _assign(self) -> None:
        """Give images to workers with room, unless writing does not keep up."""
        while len(self._writing) < IMAGES_UNDER_WAY:
            source = self._suspects or self._waiting
            worker = self._least_loaded_worker(1 if self._suspects else self._workers.in_flight)
            if not source or worker is None:
                return
            _, job = heapq.heappop(source)
            if job.attempts:
                self._alone.add(worker)
            self._under_way[job.index] = job
            self._workers.submit(worker, job.index, job.image)

    def _least_loaded_worker(self, limit: int) -> int | None:
        """Return a worker with fewer tasks than the limit; one that has a suspect gets nothing else."""
        return next((worker for worker in self._workers.load.below(limit) if worker not in self._alone), None)

    def _collect(self) -> None:
        """Take what is ready; if nothing is, wait a little for it."""
        if self._workers.busy or not self._workers.load:
            for answer in self._workers.answers(POLL_SECONDS):
                self._take(answer)
        else:
            # The first of each are those that the writers are at; waiting takes time for each of what may be thousands.
            checks = [job.earlier for job in islice(self._checked, IMAGES_UNDER_WAY) if job.earlier is not None]
            written_next = islice(self._writing, IMAGES_UNDER_WAY)
            recorded_next = islice(self._behind, 1)  # they are done one after the other
            waited: list[Future[Any]] = [*checks, *written_next, *recorded_next]
            wait(waited, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        while self._checked and (earlier := self._checked[0].earlier) is not None and earlier.done():
            self._keep(self._checked.popleft(), earlier.result())

    def _keep(self, job: _Job, kept: ScanFinding | None) -> None:
        job.earlier = None
        if kept is None:
            heapq.heappush(self._waiting, (job.index, job))
        else:
            job.written = Future()
            job.written.set_result((kept, None))

    def _take(self, answer: Answer) -> None:
        job = self._under_way.pop(answer.task)
        self._alone.discard(answer.worker)
        if answer.examined is not None:
            self._submit(job, self._written, job.image, answer.examined)
            return
        job.attempts += 1
        if job.attempts < ATTEMPTS:
            heapq.heappush(self._suspects, (job.index, job))
        else:
            self._submit(job, self._given_up, job.image)

    def _submit(self, job: _Job, write: Callable[..., tuple[Outcome, float]], *arguments: object) -> None:
        job.written = self._recorder.writers.submit(write, *arguments)
        self._writing[job.written] = None
        job.written.add_done_callback(self._writing.pop)

    def _written(self, image: PlannedImage, examined: Examined) -> tuple[Outcome, float]:
        self._recorder.write(image, examined.files)
        return examined.outcome, examined.seconds

    def _given_up(self, image: PlannedImage) -> tuple[Outcome, float]:
        self._recorder.write(image, {})
        error = UnreadableImageError(
            f"Cannot scan {image.path}: {ATTEMPTS} workers died while they had it, the last {ATTEMPTS - 1} had nothing "
            "else."
        )
        return skipped(image.path, error), 0.0

    def _recorded(self) -> Iterator[Outcome]:
        """Hand what is written on to be recorded, as far as the plan's order allows, and yield what is recorded."""
        while self._jobs and self._jobs[0].written is not None:
            job = self._jobs.popleft()
            assert job.written is not None
            self._behind.append(self._recorder.record(job.image, job.written))
        while self._behind and self._behind[0].done():
            yield self._behind.popleft().result()

    def _drain(self) -> Iterator[Outcome]:
        """Finish what the workers have; records end where the first image is missing."""
        self._workers.stop_replacing()
        while self._under_way:
            for answer in self._workers.answers(POLL_SECONDS):
                self._take(answer)
            yield from self._recorded()
        yield from self._recorded()
        while self._behind:
            yield self._behind.popleft().result()
