"""How many tasks each worker of a scan has, so kept that the least loaded is found without looking at all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping


class WorkerLoads(MutableMapping[int, int]):
    """The number of tasks of each worker: a mapping that is also kept the other way round.

    Args:
        workers: Who is there at first, without tasks.
    """

    def __init__(self, workers: Iterable[int] = ()) -> None:
        self._loads: dict[int, int] = {}
        # Dictionaries as ordered sets: of equally loaded workers, the one that has been so the longest comes first.
        self._workers: defaultdict[int, dict[int, None]] = defaultdict(dict)
        for worker in workers:
            self[worker] = 0

    def __getitem__(self, worker: int) -> int:
        return self._loads[worker]

    def __setitem__(self, worker: int, load: int) -> None:
        if worker in self._loads:
            del self[worker]
        self._loads[worker] = load
        self._workers[load][worker] = None

    def __delitem__(self, worker: int) -> None:
        del self._workers[self._loads.pop(worker)][worker]

    def __iter__(self) -> Iterator[int]:
        return iter(self._loads)

    def __len__(self) -> int:
        return len(self._loads)

    def below(self, limit: int) -> Iterator[int]:
        """Return the workers with fewer tasks than `limit`, the least loaded first."""
        return (worker for load in range(limit) for worker in self._workers[load])
