"""The workers of a scan on a Ray cluster: one that is there already, or one started on this machine for the scan.

Only this file knows Ray. Actors are used, not Ray Data: Ray Data repeats whole blocks and ends the job when one keeps
failing, where a scan counts the attempts of each image, skips the one that takes its workers down and goes on; and it
would bring Arrow and pandas for rows that are one path each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import nclforensics
from nclforensics.errors import DeviceUnavailableError, NclfError, UsageError
from nclforensics.pipelines.examination import FEWEST_THREADS
from nclforensics.pipelines.ray_loads import WorkerLoads
from nclforensics.pipelines.ray_shape import shape_of_workers
from nclforensics.pipelines.ray_worker import (
    Assignment,
    Examined,
    ScanWorker,
    WorkerFacts,
    digest_of_code,
    digest_of_network,
)
from nclforensics.pipelines.remote_inputs import INSTALL, RemotePath
from nclforensics.pipelines.run_document import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan

STARTING_SECONDS: Final = 600.0  # a cluster that grows by itself takes minutes to add a machine
CLOSING_SECONDS: Final = 2.0
CONNECTING_SECONDS: Final = 20.0
FAILED_STARTS: Final = 3
# Of a cluster of our own. What passes through are a model and a few masks at a time; Ray would take a third of memory.
OBJECT_STORE_BYTES: Final = 2**28
# Variables that results or speed may depend on; a cluster that is there has its own.
PASSED_ON: Final = ("MKL_CBWR", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """Where a scan runs on Ray.

    Attributes:
        address: Of a cluster that is there already, as `ray.init` takes it; None starts one on this machine.
        workers: How many; None takes as many as the cluster has room for.
    """

    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a task.

    Attributes:
        task: Its number.
        worker: The worker that had it.
        examined: What was found, or None if the worker died.
    """

    task: int
    worker: int
    examined: Examined | None


class RayWorkers:
    """Workers that examine images; a context manager, which starts them and waits for the first one.

    Args:
        settings: Where to find the cluster.
        model: Goes to each worker once.
        config: Settings of the scan.
        plan: Its inputs must be there for the workers.

    Raises:
        DeviceUnavailableError: If Ray is not installed.
        UsageError: If a worker cannot have that device.

    Attributes:
        load: The workers that are ready, each with the number of its tasks.
        in_flight: How many tasks a worker may have.
        conditions: What the workers compute with.
        description: What `run.json` says about the engine; it grows while the scan runs.
    """

    load: WorkerLoads
    in_flight: int
    conditions: WorkerFacts

    def __init__(self, settings: RaySettings, model: LoadedModel, config: ScanConfig, plan: ScanPlan) -> None:
        self._ray = _import_ray()
        if config.device.startswith("cuda:"):
            raise UsageError(
                f"With --engine ray each worker has a GPU of its own: use --device cuda, not {config.device}."
            )
        self._settings = settings
        self._model = model
        self._config = config
        self._plan = plan
        self.load = WorkerLoads()
        self.description: dict[str, Any] = {
            "name": "ray",
            "version": self._ray.__version__,
            "address": settings.address or "local",
            "workers": [],
            "workers_lost": 0,
        }
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}
        self._tasks: dict[Any, tuple[int, int]] = {}
        self._numbers = count()
        self._failed_starts = 0
        self._replaces = True

    @property
    def busy(self) -> bool:
        """Tell whether there is something to wait for: a task, or a worker that starts."""
        return bool(self._tasks or self._starting)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_connection(self._ray, self._settings))
            stack.callback(self._close)
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._shape = shape_of_workers(nodes, device=self._config.device, workers=self._settings.workers)
            self.in_flight = self._shape.in_flight
            self._shared_model = self._ray.put(self._model)
            self._assignment = self._assigned()
            self._actor_class = self._ray.remote(
                num_cpus=self._shape.cpus,
                num_gpus=self._shape.gpus,
                max_concurrency=self.in_flight + 1,  # and one that closes it
                max_restarts=0,  # a new one is started instead, and checked
                max_task_retries=0,  # attempts are counted by image
                runtime_env={"env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ}},
            )(ScanWorker)
            self._idle_since = time.monotonic()
            for _ in range(self._shape.count):
                self._start()
            while not self.load:
                self.answers(1.0)
            self._connected = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._connected.close()

    def submit(self, worker: int, task: int, image: PlannedImage) -> None:
        """Give a worker a task."""
        self._tasks[self._actors[worker].scan.remote(image)] = (worker, task)
        self.load[worker] += 1

    def stop_replacing(self) -> None:
        """Start no new worker for one that dies from now on."""
        self._replaces = False

    def answers(self, timeout: float) -> list[Answer]:
        """Return what became of tasks since the last call; wait so many seconds at most for the first of them.

        Raises:
            DeviceUnavailableError: If no worker can be started.
            NclfError: What a worker raised when it was started.
            UsageError: If a worker would compute with something else than this process, or than the other workers.
        """
        waiting = [*self._tasks, *self._starting]
        if not waiting:
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=timeout)
        if done:
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        answers = []
        for reference in done:
            if reference in self._starting:
                self._join(reference)
            elif reference in self._tasks:
                answers.append(self._answer(reference))
        if self.load:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > STARTING_SECONDS:
            raise self._no_workers(f"none was ready within {STARTING_SECONDS:.0f} s")
        return answers

    def _assigned(self) -> Assignment:
        local = [image.path for image in self._plan.images if not isinstance(image.path, RemotePath)]
        return Assignment(
            config=dataclasses.replace(self._config, device="cuda" if self._shape.gpus else "cpu"),
            threads=max(FEWEST_THREADS, self._shape.cpus),
            decoders=self._shape.decoders,
            folder=self._plan.folder(),
            probe=next((path for path in local if os.path.lexists(path)), None),
        )

    def _start(self) -> None:
        worker = next(self._numbers)
        self._actors[worker] = self._actor_class.remote()
        self._starting[self._actors[worker].prepare.remote(self._shared_model, self._assignment)] = worker

    def _join(self, reference: Any) -> None:  # noqa: ANN401 - Ray is not imported where types are checked
        worker = self._starting.pop(reference)
        try:
            facts = self._get(reference)
        except _LostError as error:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and not self.load:
                raise self._no_workers(str(error)) from error
            self._lose(worker, str(error))
            return
        self._failed_starts = 0
        self._check(facts)
        self.load[worker] = 0
        self.description["workers"].append(
            {"host": facts.host, "machine": facts.machine, "device": facts.device, "threads": facts.threads}
        )

    def _check(self, facts: WorkerFacts) -> None:
        """Refuse a worker whose results could differ: the records do not say who scanned which image."""
        here: dict[str, object] = {**versions(), "source code": digest_of_code()}
        there: dict[str, object] = {**facts.versions, "source code": facts.code, "weights": facts.weights}
        if not hasattr(self, "conditions"):
            self.conditions = facts
        first = self.conditions
        here |= {
            "weights": digest_of_network(self._model.network),
            "device": first.device,
            "processor": first.machine,
            "settings": first.config,
        }
        there |= {"device": facts.device, "processor": facts.machine, "settings": facts.config}
        for key, expected in here.items():
            if there[key] != expected:
                raise UsageError(
                    f"The Ray worker on {facts.host} has the {key} {there[key]}, expected {expected}: its results "
                    "could differ. Install the same on all nodes, and let a scan have nodes of one kind."
                )

    def _answer(self, reference: Any) -> Answer:  # noqa: ANN401 - as above
        worker, task = self._tasks.pop(reference)
        if worker in self.load:
            self.load[worker] -= 1
        try:
            examined = self._get(reference)
        except _LostError as error:
            self._lose(worker, str(error))
            return Answer(task=task, worker=worker, examined=None)
        assert isinstance(examined, Examined)
        return Answer(task=task, worker=worker, examined=examined)

    def _get(self, reference: Any) -> Any:  # noqa: ANN401 - as above
        """Return what a worker returned, or raise what it raised.

        Raises:
            _LostError: If it died, or what it returned is lost.
        """
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, NclfError):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            raise _LostError(" ".join(str(error).split())[:400]) from error

    def _lose(self, worker: int, reason: str) -> None:
        """Give up a worker and start another in its place."""
        self.load.pop(worker, None)
        actor = self._actors.pop(worker, None)
        if actor is None:
            return  # it was given up for another of its tasks
        _LOGGER.debug("a Ray worker was lost: %s", reason)
        self.description["workers_lost"] += 1
        self._ray.kill(actor)  # it may have lost its connection alone
        if self._replaces:
            self._start()

    def _no_workers(self, reason: str) -> DeviceUnavailableError:
        gpu = " and a GPU" if self._shape.gpus else ""
        return DeviceUnavailableError(
            f"No Ray worker with {self._shape.cpus} cores{gpu} can be had from the cluster at "
            f"{self.description['address']}: {reason}"
        )

    def _close(self) -> None:
        """End the workers; those that answer end their processes for decoding themselves."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            closing = [self._actors[worker].close.remote() for worker in self.load]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=CLOSING_SECONDS)
            for actor in self._actors.values():
                self._ray.kill(actor)


class _LostError(Exception):
    """A worker died, or its answer was lost."""


def _import_ray() -> Any:  # noqa: ANN401 - its types would be half of what is checked
    try:
        return import_module("ray")
    except ImportError as error:
        raise DeviceUnavailableError(
            f"--engine ray needs Ray, which cannot be imported ({error}). Install it with: {INSTALL}"
        ) from error


@contextmanager
def _connection(ray: Any, settings: RaySettings) -> Iterator[None]:  # noqa: ANN401 - as above
    """Connect to a cluster or start one; one that this process is connected to already is used and left as it is."""
    if ray.is_initialized():
        yield
        return
    where: dict[str, Any] = {"address": settings.address}
    is_ours = settings.address in (None, "local")  # Ray's word for it, which `run.json` has too
    if is_ours:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Ray listens on the network and asks for a token; if it is not given one, it leaves one in the user's home.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        cores = max(os.cpu_count() or 1, FEWEST_THREADS * (settings.workers or 1))
        where = {
            "address": "local",
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        _check_reachable(str(settings.address))
    # Ray lets its workers import from the folder that it is started in, which may be the evidence.
    with _signals_kept(), contextlib.chdir(Path(nclforensics.__file__).parent.parent):
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except SystemExit as end:  # Ray's answer to SIGTERM; its code would be that of a data set that is invalid
            raise KeyboardInterrupt from end
        except Exception as error:  # of many kinds, a bare one among them
            what = "start a Ray cluster on this machine" if is_ours else f"connect to {settings.address}"
            raise DeviceUnavailableError(f"Cannot {what}: {error}") from error
    try:
        yield
    finally:
        with _signals_kept():
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse an address at which nobody listens: Ray would try it for minutes, and could not be stopped meanwhile."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:  # "auto", or a client's address
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DeviceUnavailableError(
            f"Cannot connect to {address}: {error}. Expected a Ray cluster there, at the address that "
            "`ray start --head` prints."
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces by one of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
