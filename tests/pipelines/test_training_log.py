"""What a training run says while it runs."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from typing import TYPE_CHECKING, Any

import torch

from nclforensics.losses.combined import LossTerms
from nclforensics.pipelines.checkpoint import RunState
from nclforensics.pipelines.training_log import TrainingLog

if TYPE_CHECKING:
    import pytest


TERMS = LossTerms(**{term.name: torch.tensor(1.0) for term in dataclasses.fields(LossTerms)})


class Board:
    """Stands for TensorBoard's writer."""

    def add_scalar(self, *_: Any) -> None:  # noqa: ANN401 - as TensorBoard's
        """Take a value."""


def test_the_speed_is_that_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation between two rows takes away neither its own time nor that of the steps before it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    history = io.StringIO()
    log = TrainingLog(history, Board(), lambda _: None, {})  # type: ignore[arg-type]

    def steps(count: int) -> None:
        for _ in range(count):
            now[0] += 2.0
            log.add(TERMS)

    steps(10)
    now[0] += 300.0
    log.write_scores(RunState(step=10), {})
    steps(10)
    resumed = TrainingLog(history, Board(), lambda _: None, log.unlogged)  # type: ignore[arg-type]
    for each in (log, resumed):
        each.write(RunState(step=20), learning_rate=0.1, samples_per_step=8)
    rows = [json.loads(line) for line in history.getvalue().splitlines()]
    assert [row["samples_per_second"] for row in rows if row["kind"] == "train"] == [4.0, 4.0]
