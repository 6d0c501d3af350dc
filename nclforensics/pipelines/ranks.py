"""The processes of a training on several GPUs, as `torchrun` starts them; one process alone is the usual case.

All ranks step together. What is done once, writing and validating above all, is done by the first rank, for which the
others wait as long as it takes: over a connection of its own, which shows at once a rank that died. The time limit of
the training's own communication shows one that hangs.
"""

from __future__ import annotations

import gc
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from nclforensics.errors import ConfigError
from nclforensics.losses.ranks import RankLostError, Ranks, naming_lost_ranks
from nclforensics.pipelines.device import select_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.config import RunConfig, TrainConfig

LONGEST_WAIT: Final = timedelta(days=2)  # for what the first rank does alone; a rank that died is noticed at once

Result = TypeVar("Result")


class TrainingRanks(Ranks):
    """All ranks of a run, and this one's device.

    Args:
        config: Of the run; `device`, `precision`, `rank_timeout`, `batch_size` and `compile` are read.

    Raises:
        ConfigError: If the batch cannot be shared by so many ranks, or a setting is for one process only.
        DeviceUnavailableError: If the device is not there.
    """

    def __init__(self, config: RunConfig) -> None:
        device = _own_device(config.train)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # A second run in one process may want another device or precision; accelerate keeps these for all its life.
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - accelerate offers no public way
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if config.train.precision == "bf16" else "no",
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=timedelta(minutes=config.train.rank_timeout)),
                # A loss term of weight 0 leaves some weights without gradient, the same ones in each step.
                DistributedDataParallelKwargs(static_graph=True),
            ],
        )
        super().__init__(self.accelerator.process_index, self.accelerator.num_processes)
        self.device = cast("torch.device", self.accelerator.device)
        with naming_lost_ranks():
            self._waiting = dist.new_group(backend="gloo", timeout=LONGEST_WAIT) if self.count > 1 else None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes, prints and validates."""
        return self.index == 0

    def on_first(self, action: Callable[[], Result]) -> Result:
        """Run an action on the first rank, while the others wait, and return its result on all.

        Raises:
            RankLostError: On the others, if it raised an error or died; the error itself is raised on the first.
        """
        if self.count == 1:
            return action()
        results: list[Any] = []
        try:
            if self.first:
                results.append(action())
        finally:
            said = [results]
            with naming_lost_ranks():
                dist.broadcast_object_list(said, group=self._waiting)
        if not said[0]:
            raise RankLostError("The first process of this training ended with an error; its own message says why.")
        return cast("Result", said[0][0])

    def agree(self, *, stop: bool, seconds: float) -> tuple[bool, float]:
        """Return whether any rank wants to stop, and the seconds of the first rank's clock."""
        if self.count == 1:
            return stop, seconds
        said = torch.tensor([float(stop), seconds if self.first else 0.0], dtype=torch.float64, device=self.device)
        stops, clock = self.add(said).tolist()
        return stops > 0, clock

    def leave(self) -> None:
        """Part from the other ranks in peace, after everything was done or all agreed to stop.

        Python's end aborts the process while one of Gloo's threads still holds what it sent last. A connection's
        threads are gone when its last reference is: nothing may use the wrapped network any more.
        """
        if self.count > 1:
            dist.destroy_process_group()
            self._waiting = None
            # Matplotlib keeps the frames that were being run when it drew the curves, and with them the network.
            gc.collect()


def _own_device(train: TrainConfig) -> torch.device:
    """Return the device of this rank, after checking what several ranks need."""
    device, count = select_device(train.device), int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return device
    if train.batch_size % count:
        raise ConfigError(
            f"Expected a batch_size that {count} processes can share, got {train.batch_size}: it counts the samples "
            f"of all processes. Choose a multiple of {count}."
        )
    if train.compile:
        raise ConfigError(f"Expected compile = false with {count} processes: only one process can compile so far.")
    if ":" in train.device:
        raise ConfigError(f'Expected device "auto", "cuda" or "cpu" with {count} processes, got "{train.device}".')
    return select_device(f"cuda:{os.environ['LOCAL_RANK']}") if device.type == "cuda" else device
