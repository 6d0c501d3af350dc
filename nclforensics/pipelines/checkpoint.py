"""Checkpoints of a training run: one safetensors file with everything that the next step depends on.

No pickle: tensors are named (`network.`, `average.`, `optimizer.<parameter>.`), the counters are JSON in the header.
The file is written under another name and renamed, so that a checkpoint is either whole or the one before.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nclforensics.errors import MissingInputError, OutputError, WeightsMismatchError

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
BEST_FILE: Final = "best.safetensors"
FREE_BYTES_NEEDED: Final = 64 * 2**20  # beside two checkpoints: logs, curves and the finished model


@dataclass(frozen=True, kw_only=True)
class RunState:
    """The counters of a run.

    Attributes:
        step: Optimizer steps done.
        seconds: Training time so far, over all sessions.
        best_score: Best validation score (`ValidationScores.score`) so far; -1 before the first validation.
        best_step: The step of the best score.
        sessions: How often the run was started or resumed.
        initial: What the model's manifest will say of the model that the run started from.
        validated: The step of the last validation; -1 before the first.
        unlogged: What `TrainingLog.unlogged` holds: the next row of a resumed run is that of one that never stopped.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float = -1.0
    best_step: int = 0
    sessions: int = 0
    initial: dict[str, str] = field(default_factory=dict)
    validated: int = -1
    unlogged: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    folder: Path, state: RunState, *, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the checkpoint of a run.

    Raises:
        OutputError: If it cannot be written; the one before is still there.
    """
    tensors = storable(network.state_dict(), "network.") | storable(average.state_dict(), "average.")
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= storable(slots, f"optimizer.{index}.")
    write_tensors(folder / CHECKPOINT_FILE, tensors, {"state": json.dumps(asdict(state))})


def find_checkpoint(folder: Path) -> Path:
    """Return the path of a run's checkpoint.

    Raises:
        MissingInputError: If there is none.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise MissingInputError(f"Expected a checkpoint at {path}, found none. Start the run without --resume.")
    return path


def load_checkpoint(
    folder: Path, *, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> RunState:
    """Bring network, average and optimizer to the state of the folder's checkpoint and return its counters.

    Raises:
        MissingInputError: If there is no checkpoint.
        WeightsMismatchError: If it is damaged or of another network.
    """
    path = find_checkpoint(folder)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            state = RunState(**json.loads(file.metadata()["state"]))
        network.load_state_dict(_without_prefix("network.", tensors))
        average.load_state_dict(_without_prefix("average.", tensors))
        _restore_optimizer(optimizer, _without_prefix("optimizer.", tensors))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsMismatchError(f"The checkpoint {path} does not fit this run or is damaged: {error}.") from error
    return state


def storable(state: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return a state's tensors as safetensors wants them: on the CPU, contiguous, none sharing memory."""
    return {prefix + name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file in one piece.

    Raises:
        OutputError: If there is no space or no permission.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {path}: {error}. What was there before is untouched.") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file of this run."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary


def check_space(folder: Path, network: nn.Module) -> None:
    """Refuse to start a run whose checkpoints would not fit on the disk.

    Raises:
        OutputError: If less than two checkpoints and some logs fit, or what a killed run left cannot be removed.
    """
    for name in (CHECKPOINT_FILE, BEST_FILE):
        for half in folder.glob(f".{name}.*.tmp"):  # a run was killed while it wrote; one may be gigabytes
            try:
                half.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"Cannot remove {half}: {error}.") from error
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    needed = 2 * 4 * size + FREE_BYTES_NEEDED  # network, average and two optimizer slots, twice while replacing
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"Expected {needed / 2**20:.0f} MiB free for checkpoints in {folder}, found {free / 2**20:.0f} MiB. "
            "Free some space or choose another --out."
        )


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".")
        if value.ndim:
            # Same memory layout as the parameter, so that the fused update runs as it did before.
            value = torch.empty_like(parameters[int(index)]).copy_(value)  # noqa: PLW2901
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
