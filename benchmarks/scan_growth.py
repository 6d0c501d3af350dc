"""How far one scan on Ray grows: the process that runs it, measured, and a cluster of many workers, simulated.

    python benchmarks/scan_growth.py [--images 1000 10000 100000] [--workers 16 256 2048] [--cluster 10 100 1000]

Both drive the scheduler that `nclf scan --engine ray` uses; only the workers are replaced.

1. Process: workers that answer at once with one image's real record and mask, so that what is left is the process
   itself: handing out, writing and forcing two files an image to the disk, recording in the plan's order. Its images a
   second are the most that one scan can do, however many workers there are; memory is its largest resident set.
2. Cluster: workers with a clock of their own (a discrete-event simulation) and no files written. An image is fetched
   from a store that all share, computed, and fetched again for the second hash; sizes follow a log-normal
   distribution, some are very large, some workers die. Efficiency is the computing time of all images over workers
   times duration, without the last images: while no image is waiting any more, workers run out of work whatever the
   scheduler does.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from benchmarks.ray_scan import SMALL, machine, make_photos
from nclforensics.config import ScanConfig
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import ray_engine
from nclforensics.pipelines.ray_cluster import Answer, RaySettings
from nclforensics.pipelines.ray_engine import ClusterScan
from nclforensics.pipelines.ray_loads import WorkerLoads
from nclforensics.pipelines.ray_worker import Assignment, Examined, ScanWorker
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan, plan_scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.results import Outcome

IN_FLIGHT: Final = 4  # tasks a worker of two cores may have
FIXED_SECONDS: Final = 0.124  # of an image on a worker of two cores, docs/scaling.md
SECONDS_PER_MEGAPIXEL: Final = 0.753
MEGAPIXELS: Final = 12.0  # median
MEGABYTES_PER_MEGAPIXEL: Final = 1 / 3
SPREAD: Final = 0.6  # standard deviation of the logarithm of the size
LARGE: Final = (1e-4, 500.0)  # share of very large images, and their megapixels
DEATHS: Final = 1e-4  # chance that a worker dies of an image, or beside it
IMAGES_A_WORKER: Final = 100
MANY: Final = 10_000  # images that more workers are measured with


def main() -> None:
    """Measure and simulate, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="*", default=[16, 256, 2048], help="of the measured process")
    parser.add_argument("--cluster", type=int, nargs="*", default=[10, 100, 1000], help="numbers of simulated workers")
    parser.add_argument("--gigabits", type=float, nargs="*", default=[100.0, 1.0], help="what the store sends a second")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure_process(*arguments.child)))
        return
    print(machine())
    print_process(arguments.images, arguments.workers)
    print_cluster(arguments.cluster, arguments.gigabits)


def print_process(counts: list[int], workers: list[int]) -> None:
    """Print what the process that runs a scan does in a second, each scan in a process of its own."""
    print("\n| images | workers | images a second | memory, MB |\n|---|---|---|---|")
    others = [(min(counts[-1], MANY), number) for number in workers[1:]] if counts else []
    for count, number in [*((count, workers[0]) for count in counts), *others]:
        command = [sys.executable, "-m", "benchmarks.scan_growth", "--child", str(count), str(number)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this very file
        figures = json.loads(done.stdout.splitlines()[-1])
        print(f"| {count:,} | {number:,} | {figures['rate']:,.0f} | {figures['megabytes']:.0f} |", flush=True)


def measure_process(count: int, workers: int) -> dict[str, float]:
    """Scan `count` planned images with workers that answer at once; return images a second and memory."""
    model, config = load_model(), ScanConfig(device="cpu")
    with tempfile.TemporaryDirectory(prefix="nclf-benchmark-") as temporary:
        folder = Path(temporary)
        plan = plan_scan([make_photos(folder / "photos", 1, SMALL, SMALL)], out=folder / "out")
        instant = InstantWorkers(workers, plan, model, config)
        setattr(ray_engine, "RayWorkers", lambda *_: instant)  # noqa: B010 - mypy would have it a class
        images = tuple(PlannedImage(folder / f"{index:07}.jpg", f"{index:07}") for index in range(count))
        plan = ScanPlan(images, (("photos", count),), folder / "out", replace=False)
        started = time.perf_counter()
        for _ in scan_images(plan, model, config, ray=RaySettings()):
            pass
        seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": count / seconds, "megabytes": megabytes}


class InstantWorkers:
    """Workers that find in every image what a real worker found in one."""

    def __init__(self, count: int, plan: ScanPlan, model: LoadedModel, config: ScanConfig) -> None:
        worker = ScanWorker()
        assignment = Assignment(config=config, threads=2, decoders=0, folder=None, probe=plan.images[0].path)
        self.conditions = worker.prepare(model, assignment)
        self._found = worker.scan(plan.images[0])
        worker.close()
        self.in_flight = IN_FLIGHT
        self.load = WorkerLoads(range(count))
        self.description: dict[str, Any] = {"name": "instant"}
        self._tasks: deque[tuple[int, int, PlannedImage]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def busy(self) -> bool:
        """Tell whether there are tasks."""
        return bool(self._tasks)

    def submit(self, worker: int, task: int, image: PlannedImage) -> None:
        """Note a task."""
        self.load[worker] += 1
        self._tasks.append((worker, task, image))

    def answers(self, timeout: float) -> list[Answer]:  # noqa: ARG002 - nothing has to be waited for
        """Answer all tasks."""
        answers = [self._answer(*task) for task in self._tasks]
        self._tasks.clear()
        return answers

    def _answer(self, worker: int, task: int, image: PlannedImage) -> Answer:
        self.load[worker] -= 1
        outcome = dataclasses.replace(self._found.outcome, path=str(image.path))
        files = {name.replace("000000", image.name): content for name, content in self._found.files.items()}
        return Answer(task=task, worker=worker, examined=dataclasses.replace(self._found, outcome=outcome, files=files))

    def stop_replacing(self) -> None:
        """Nothing dies here."""


def print_cluster(workers: list[int], gigabits: list[float]) -> None:
    """Print the efficiency of simulated clusters."""
    print("\n| workers of 2 cores | images | store, Gbit/s | sizes | hours | efficiency | scheduling, ms an image |")
    print("|---|---|---|---|---|---|---|")
    for number in workers:
        cases = [(gigabits[0], "equal"), *((rate, "mixed") for rate in gigabits), (gigabits[0], "mixed, deaths")]
        for rate, sizes in cases:
            count = IMAGES_A_WORKER * number
            hours, efficiency, milliseconds = simulate(number, count, gigabits=rate, sizes=sizes)
            print(
                f"| {number:,} | {count:,} | {rate:g} | {sizes} | {hours:.3f} | {efficiency:.3f} "
                f"| {milliseconds:.2f} |",
                flush=True,
            )


def simulate(workers: int, count: int, *, gigabits: float, sizes: str) -> tuple[float, float, float]:
    """Scan on a simulated cluster; return its hours, its efficiency, and real milliseconds an image spent here."""
    generator = np.random.default_rng(0)
    megapixels = np.full(count, MEGAPIXELS)
    if sizes != "equal":
        megapixels *= generator.lognormal(0, SPREAD, count)
        megapixels[generator.random(count) < LARGE[0]] = LARGE[1]
    cluster = SimulatedWorkers(workers, megapixels, gigabits=gigabits, deaths=DEATHS if "deaths" in sizes else 0.0)
    plan = ScanPlan(tuple(PlannedImage(Path(f"{i}.jpg"), str(i)) for i in range(count)), (), Path(), replace=False)
    setattr(ray_engine, "OutcomeRecorder", NoFiles)  # noqa: B010 - as above
    started = time.perf_counter()
    records = [None for _ in ClusterScan(plan, ScanConfig(), cluster, None, None).run(lambda: False)]  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    assert len(records) == count
    return cluster.now / 3600, cluster.efficiency, 1000 * seconds / count


class SimulatedWorkers:
    """Workers under a clock of their own: each fetches ahead, and computes one image after the other.

    Args:
        count: Number of workers.
        megapixels: Of each image.
        gigabits: What the store sends a second to all of them together, first come, first served.
        deaths: Chance that a worker dies during an image; another takes its place at once.

    Attributes:
        now: The clock, in seconds.
    """

    def __init__(self, count: int, megapixels: np.ndarray, *, gigabits: float, deaths: float) -> None:
        self._compute = FIXED_SECONDS + SECONDS_PER_MEGAPIXEL * megapixels
        self._fetch = megapixels * MEGABYTES_PER_MEGAPIXEL * 8e-3 / gigabits
        self._dies = np.random.default_rng(1).random(len(megapixels)) < deaths
        self._count = count
        self.load = WorkerLoads(range(count))
        self._free_at = dict.fromkeys(range(count), 0.0)
        self._tasks: dict[int, set[int]] = {worker: set() for worker in range(count)}
        self._events: list[tuple[float, int, int]] = []  # when, task, worker
        self._store_free_at = 0.0
        self._unfinished = len(megapixels)
        self._measured_until: float | None = None
        self._computed = 0.0
        self.in_flight = IN_FLIGHT
        self.now = 0.0

    @property
    def busy(self) -> bool:
        """Tell whether there are tasks."""
        return bool(self._events)

    @property
    def efficiency(self) -> float:
        """Return the computing time over workers times duration, until the images begin to run out."""
        assert self._measured_until is not None
        return float(self._computed / (self._count * self._measured_until))

    def submit(self, worker: int, task: int, image: PlannedImage) -> None:  # noqa: ARG002 - the protocol's
        """Fetch and compute a task after those that the worker has."""
        self._store_free_at = max(self._store_free_at, self.now) + 2 * self._fetch[task]
        begin = max(self._store_free_at, self._free_at[worker])
        self._free_at[worker] = begin + self._compute[task]
        self.load[worker] += 1
        self._tasks[worker].add(task)
        heapq.heappush(self._events, (self._free_at[worker], task, worker))

    def answers(self, timeout: float) -> list[Answer]:  # noqa: ARG002 - this clock does not wait
        """Go on to the next task that ends, or to a worker's death."""
        while True:
            when, task, worker = heapq.heappop(self._events)
            if task in self._tasks.get(worker, ()):
                break
        self.now = when
        if self._dies[task]:
            self._dies[task] = False
            return self._death(worker)
        self._tasks[worker].remove(task)
        self.load[worker] -= 1
        self._unfinished -= 1
        if self._unfinished >= self._count * self.in_flight:
            self._computed += self._compute[task]
            self._measured_until = self.now
        return [Answer(task=task, worker=worker, examined=Examined(outcome=FOUND, files={}, seconds=0.0))]

    def _death(self, worker: int) -> list[Answer]:
        lost = self._tasks.pop(worker)
        del self.load[worker]
        successor = max(self._free_at) + 1
        self.load[successor], self._free_at[successor], self._tasks[successor] = 0, self.now, set()
        return [Answer(task=task, worker=worker, examined=None) for task in lost]

    def stop_replacing(self) -> None:
        """Not asked: the scan is not stopped."""


FOUND: Final[Any] = None  # nobody reads what was found where no file is written


class NoFiles:
    """A recorder that keeps nothing and is done at once."""

    def __init__(self, *_: object, **__: object) -> None:
        self.writers = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Call at once."""
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def write(self, image: PlannedImage, files: dict[str, bytes]) -> None:
        """Write nothing."""

    def record(self, image: PlannedImage, written: Future[Any]) -> Future[Outcome]:  # noqa: ARG002 - the recorder's
        """Record nothing."""
        return self.submit(lambda: written.result()[0])


if __name__ == "__main__":
    main()
