"""Tests of how the least loaded worker is found."""

from __future__ import annotations

import random

from nclforensics.pipelines.ray_loads import WorkerLoads


def test_workers_come_by_their_load() -> None:
    """After any changes, the workers below a limit come in the order that looking at all of them gives."""
    generator = random.Random(0)
    loads, plain = WorkerLoads(range(5)), dict.fromkeys(range(5), 0)
    for step in range(500):
        worker = generator.randrange(8)
        if worker in plain and generator.random() < 0.1:
            del loads[worker], plain[worker]
        else:
            loads[worker] = plain[worker] = generator.randrange(6)
        limit = step % 7
        found = list(loads.below(limit))
        assert sorted(found) == sorted(each for each, load in plain.items() if load < limit)
        assert [plain[each] for each in found] == sorted(plain[each] for each in found)
    assert dict(loads) == plain


def test_equally_loaded_workers_take_turns() -> None:
    """The one that has been so the longest comes first, so that no worker is left out."""
    loads = WorkerLoads(range(3))
    chosen = []
    for _ in range(6):
        worker = next(loads.below(1))
        chosen.append(worker)
        loads[worker] += 1
        loads[worker] -= 1
    assert chosen == [0, 1, 2, 0, 1, 2]
