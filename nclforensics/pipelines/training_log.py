"""What a training run says while it runs: history.jsonl, TensorBoard, and the caller's report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from nclforensics.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from nclforensics.losses.combined import LossTerms
    from nclforensics.pipelines.checkpoint import RunState

HISTORY_FILE: Final = "history.jsonl"

Report = Callable[[dict[str, float]], None]


class TrainingLog:
    """Averages loss terms between two logged steps and writes them everywhere.

    Args:
        history: The open history.jsonl.
        board: TensorBoard's.
        report: Called with every row.
        unlogged: Of the log that a resumed run goes on with.
    """

    def __init__(self, history: TextIO, board: SummaryWriter, report: Report, unlogged: dict[str, float]) -> None:
        self.history = history
        self.board = board
        self.report = report
        self._sums = dict(unlogged)
        self._count = int(self._sums.pop("steps", 0))
        self._seconds = self._sums.pop("seconds", 0.0)
        self._time = time.monotonic()

    @property
    def unlogged(self) -> dict[str, float]:
        """Return the sums of the loss terms since the last row, with the steps and seconds that they are of."""
        return {**self._sums, "steps": self._count, "seconds": self._seconds}

    def add(self, terms: LossTerms) -> None:
        """Take the terms of one step into the average."""
        for name, value in terms.scalars().items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        now = time.monotonic()
        self._seconds += now - self._time
        self._time = now

    def write(self, state: RunState, *, learning_rate: float, samples_per_step: int) -> None:
        """Write the averages since the last call."""
        row = {name: value / self._count for name, value in self._sums.items()}
        row |= {"learning_rate": learning_rate, "samples_per_second": self._count * samples_per_step / self._seconds}
        self._sums, self._count, self._seconds = {}, 0, 0.0
        self._put("train", state, row)

    def write_scores(self, state: RunState, row: dict[str, float]) -> None:
        """Write the scores of a validation."""
        self._put("validation", state, row)
        self._time = time.monotonic()  # the validation's own time is no training time

    def _put(self, kind: str, state: RunState, row: dict[str, float]) -> None:
        for name, value in row.items():
            self.board.add_scalar(f"{kind}/{name}", value, state.step)
        row = {"step": state.step, "minutes": round(state.seconds / 60, 3), **row}
        try:
            self.history.write(json.dumps({"kind": kind, **row}) + "\n")
            self.history.flush()
        except OSError as error:
            raise OutputError(f"Cannot write the history of the run: {error}. Free some space and resume.") from error
        self.report({**row, "validation": float(kind == "validation")})


def truncate_history(path: Path, state: RunState) -> None:
    """Drop the rows after the checkpoint, and validations that it does not know: the resumed run writes them again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = ((line, json.loads(line)) for line in lines if line.endswith("\n"))
        last = {"train": state.step, "validation": state.validated}
        kept = [line for line, row in rows if row["step"] <= last[row["kind"]]]
        path.write_text("".join(kept), encoding="utf-8")
