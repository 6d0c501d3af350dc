"""The curves of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from nclforensics.reports.curves import draw_curves

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = {"kind": "train", "bce": 0.5, "dice": 0.9, "contrastive_plus": 2.1, "contrastive_minus": 0.0}
VALIDATION = {"kind": "validation", "f1_at_fpr": 0.2, "f1": 0.3, "pixel_auc": 0.7, "flagged": 0.0}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect what is saved."""
    saved: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: saved.append(self))
    return saved


def test_a_single_row_is_seen(tmp_path: Path, figures: list[Figure]) -> None:
    """A short run has one: a line through one point alone would leave an empty sheet."""
    draw_curves([{"step": 10, **TRAIN}, {"step": 10, **VALIDATION}], tmp_path / "curves.png")
    lines = [line for axes in figures[0].axes for line in axes.get_lines()]
    assert lines
    assert all(line.get_marker() not in ("", "None", None) for line in lines)


def test_a_score_of_zero_is_drawn_and_a_loss_without_weight_is_not(tmp_path: Path, figures: list[Figure]) -> None:
    """That no authentic sample was flagged is the best there is; a loss of 0 has no place on its logarithmic axis."""
    draw_curves([{"step": step, **row} for step in (1, 2) for row in (TRAIN, VALIDATION)], tmp_path / "curves.png")
    losses, scores = ([str(line.get_label()) for line in axes.get_lines()] for axes in figures[0].axes)
    assert losses == ["bce", "dice", "contrastive_plus"]
    assert scores == ["f1_at_fpr", "f1", "pixel_auc", "flagged"]


def test_lines_differ_without_colours(tmp_path: Path, figures: list[Figure]) -> None:
    """By dashes and by marks, of which a long run has a few only."""
    draw_curves([{"step": step, **VALIDATION} for step in range(1000)], tmp_path / "curves.png")
    lines = figures[0].axes[1].get_lines()
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines)
    assert all(line.get_markevery() == 50 for line in lines)
