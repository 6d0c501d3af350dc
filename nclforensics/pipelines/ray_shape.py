"""How many workers a Ray cluster is asked for, and what each of them gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nclforensics.errors import DeviceUnavailableError
from nclforensics.pipelines.examination import FEWEST_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_DECODERS: Final = 8
MOST_CPUS: Final = 2 * MOST_DECODERS


@dataclass(frozen=True, kw_only=True)
class WorkerShape:
    """How many workers a cluster is asked for, and what each of them gets.

    Attributes:
        count: Number of workers.
        cpus: Cores for each, at least 1.
        gpus: GPUs for each, 0 or 1.
    """

    count: int
    cpus: int
    gpus: int

    @property
    def decoders(self) -> int:
        """Return the number of processes that decode for a worker: as many as the scan on such a machine has."""
        return max(1, min(MOST_DECODERS, self.cpus // 2))

    @property
    def in_flight(self) -> int:
        """Return how many images a worker holds at a time: decoded, computed, concluded, and one on its way."""
        return 2 * self.decoders + 2


def shape_of_workers(nodes: Sequence[dict[str, float]], *, device: str, workers: int | None) -> WorkerShape:
    """Return how many workers to start, and with what.

    A CPU worker gets the two cores that the bytes of a scan need (`examination.FEWEST_THREADS`), or one where no node
    has two: more small workers scan more than few large ones. A GPU worker gets a GPU and its share of the cores.

    Args:
        nodes: The resources of each node, as Ray names them.
        device: "auto", "cpu" or "cuda"; "auto" takes GPUs if there are any.
        workers: How many workers are wanted; None takes as many as there is room for.

    Raises:
        DeviceUnavailableError: If no node has such a device, or any core.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    if device == "cuda" and not gpu_nodes:
        raise DeviceUnavailableError('Device "cuda" was asked for, but no node of the Ray cluster has a GPU.')
    if gpu_nodes and device != "cpu":
        share = min(int(node.get("CPU", 1) // node["GPU"]) for node in gpu_nodes)
        room = sum(int(node["GPU"]) for node in gpu_nodes)
        return WorkerShape(count=workers or room, cpus=max(1, min(share, MOST_CPUS)), gpus=1)
    cpus = min(FEWEST_THREADS, max((math.floor(node.get("CPU", 0)) for node in nodes), default=0))
    if cpus == 0:
        raise DeviceUnavailableError("No node of the Ray cluster has a core for a worker.")
    room = sum(math.floor(node.get("CPU", 0)) // cpus for node in nodes)
    return WorkerShape(count=workers or room, cpus=cpus, gpus=0)
