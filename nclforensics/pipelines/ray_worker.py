"""What each Ray worker does: examine the images that it is given, by the code that the scan on one machine uses.

A worker only reads. What it found goes back to the process that runs the scan, which alone writes: a worker that dies,
or that is taken for dead and goes on, leaves nothing half done and nothing twice. Nothing of Ray is imported here.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import torch

import nclforensics
from nclforensics.errors import MissingInputError, UnreadableImageError
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.remote_inputs import InputReader
from nclforensics.pipelines.run_document import versions
from nclforensics.pipelines.scan_engine import IMAGE_ERRORS, PIXELS_UNDER_WAY, concluded, is_large_file, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.scan_plan import PlannedImage
    from nclforensics.results import Outcome


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What all workers of a scan are told.

    Attributes:
        config: Settings; the device is the one that a worker sees.
        threads: Number of threads that a CPU computes with, if it is at least what the bytes of the scores need.
        decoders: Number of processes that decode.
        folder: Where relative paths begin; None if there are none.
        probe: A planned image that the process that runs the scan can see; None if there is none.
    """

    config: ScanConfig
    threads: int
    decoders: int
    folder: str | None
    probe: Path | None


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """What a worker computes with: the results may depend on all of it but the host and the number of threads.

    Attributes:
        config: The settings with the threshold and the device that are in force.
        device: The device's name, for records.
        threads: Number of threads that a CPU computes with.
        machine: Kind of processor, and the instructions that PyTorch uses of it.
        versions: Of everything that decodes, computes or encodes.
        code: Digest of this package's source.
        weights: Digest of the network's tensors.
        host: The machine's name.
    """

    config: ScanConfig
    device: str
    threads: int
    machine: str
    versions: dict[str, str | None]
    code: str
    weights: str
    host: str


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a worker found in one image.

    Attributes:
        outcome: The record.
        files: The output files by their names; none if the image was skipped.
        seconds: From the image's turn to the second hash of the input.
    """

    outcome: Outcome
    files: dict[str, bytes]
    seconds: float


class ScanWorker:
    """Examines images, several at a time in threads: while one is computed, the next are decoded."""

    def prepare(self, model: LoadedModel, assignment: Assignment) -> WorkerFacts:
        """Load the model, once, and return what this worker computes with.

        Raises:
            DeviceUnavailableError: If it does not have the device.
            MissingInputError: If it cannot see the inputs.
            UsageError: As for `Examiner`.
        """
        if assignment.folder is not None:
            _enter(assignment.folder)
        if assignment.probe is not None and not os.path.lexists(assignment.probe):
            raise MissingInputError(
                f"Expected {assignment.probe} on the Ray worker on {platform.node()} too, found no such file. "
                "Inputs must lie on a path that all nodes share, or in an object store."
            )
        weights = digest_of_network(model.network)  # as it came, before the examiner adapts it to the device
        self._room = _Room()
        self._stack = ExitStack()
        self._decoders = self._stack.enter_context(
            InputReader(assignment.decoders, max_pixels=assignment.config.max_pixels)
        )
        # One thread computes, from beginning to end: torch keeps a number of threads for each thread that calls it.
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._stack.callback(self._network.shutdown, cancel_futures=True)
        self._examiner = self._network.submit(self._begin, model, assignment).result()
        return WorkerFacts(
            config=self._examiner.config,
            device=self._examiner.device,
            threads=self._examiner.threads,
            machine=f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
            versions=versions(),
            code=digest_of_code(),
            weights=weights,
            host=platform.node(),
        )

    def scan(self, image: PlannedImage) -> Examined:
        """Examine one image; whatever is wrong with it becomes a skipped record."""
        with self._room.admitted(image.path) as tell_pixels:
            start = time.perf_counter()
            try:
                outcome, files = self._examined(image, tell_pixels)
            except IMAGE_ERRORS as error:
                return Examined(outcome=skipped(image.path, error), files={}, seconds=time.perf_counter() - start)
            return Examined(outcome=outcome, files=files, seconds=time.perf_counter() - start)

    def close(self) -> None:
        """End the processes that decode."""
        self._stack.close()

    def _begin(self, model: LoadedModel, assignment: Assignment) -> Examiner:
        torch.set_num_threads(assignment.threads)
        cv2.setNumThreads(assignment.threads)
        examiner = Examiner(model, assignment.config)
        self._stack.enter_context(examiner)
        return examiner

    def _examined(self, image: PlannedImage, tell_pixels: Callable[[int], None]) -> tuple[Outcome, dict[str, bytes]]:
        if image.problem is not None:
            raise UnreadableImageError(image.problem)
        loaded = self._decoders.submit(image.path).result()
        tell_pixels(loaded.pixels.size // 3)
        localization = self._network.submit(self._examiner.localize, loaded).result()
        return concluded(self._examiner, image, loaded, localization)


class _Room:
    """Bounds the pixels in memory, as the scan on one machine does: a file that may hold many comes in alone."""

    def __init__(self) -> None:
        self._queue = threading.Lock()  # nobody overtakes an image that waits
        self._changed = threading.Condition()
        self._pixels: dict[object, int] = {}

    @contextmanager
    def admitted(self, path: Path) -> Iterator[Callable[[int], None]]:
        """Wait for room; yield a function that is to be told how many pixels the image holds."""
        image = object()
        large = is_large_file(path)
        with self._queue, self._changed:
            self._changed.wait_for(lambda: self._has_room(large=large))
            self._pixels[image] = 0
        try:
            yield lambda pixels: self._pixels.__setitem__(image, pixels)
        finally:
            with self._changed:
                del self._pixels[image]
                self._changed.notify_all()

    def _has_room(self, *, large: bool) -> bool:
        return not self._pixels or (not large and sum(self._pixels.values()) < PIXELS_UNDER_WAY)


def digest_of_code() -> str:
    """Return the SHA-256 over the source files of this package: two checkouts may call themselves the same version."""
    package = Path(nclforensics.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def digest_of_network(network: torch.nn.Module) -> str:
    """Return the SHA-256 over names and bytes of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise MissingInputError(
            f"Expected the folder {folder} on the Ray worker on {platform.node()} too, since inputs were named "
            f"relative to it: {error.strerror}. Name them by absolute paths that all nodes share."
        ) from error
