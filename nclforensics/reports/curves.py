"""Pictures of a training run: its curves, and what it predicts for a few samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

mpl.use("Agg")  # files only: a server has no screen

TRAIN_TERMS = ("bce", "dice", "contrastive_plus", "contrastive_minus", "pivot_consistency")
SCORES = ("f1_at_fpr", "f1", "pixel_auc", "flagged")
_STYLES = ("o-", "s--", "^:", "x-.", "d-")  # told apart without colours, too
_MARKERS = 20  # on a line, so that one of a single point is seen and one of a thousand stays a line


class SamplePanel(NamedTuple):
    """One sample: image uint8 (H, W, 3), mask bool (H, W), score map float32 (H, W) in [0, 1]."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    score_map: NDArray[np.float32]


def draw_curves(history: list[dict[str, Any]], path: Path) -> None:
    """Draw loss terms and validation scores over the steps.

    Args:
        history: Rows of history.jsonl.
        path: PNG to write.
    """
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _plot(losses, [row for row in history if row["kind"] == "train"], TRAIN_TERMS, zeros=False)
    losses.set(title="loss terms (before weighting)", xlabel="step", yscale="log")
    _plot(scores, [row for row in history if row["kind"] == "validation"], SCORES, zeros=True)
    scores.set(title="validation, averaged weights, held-out photos", xlabel="step", ylim=(0, 1))
    figure.savefig(path, dpi=110)


def draw_samples(panels: list[SamplePanel], path: Path, *, threshold: float) -> None:
    """Draw image, mask, score map and prediction of each sample in a row; the colour scale is fixed at [0, 1].

    Args:
        panels: The samples.
        path: PNG to write.
        threshold: Scores above it are predicted tampered.
    """
    figure = Figure(figsize=(8.4, 2.1 * len(panels)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(panels), 4))
    for row, panel in zip(axes, panels, strict=True):
        row[0].imshow(panel.image)
        row[1].imshow(panel.mask, cmap="gray", vmin=0, vmax=1)
        row[2].imshow(panel.score_map, cmap="inferno", vmin=0, vmax=1)
        row[3].imshow(panel.score_map > threshold, cmap="gray", vmin=0, vmax=1)
        for axis in row:
            axis.set_axis_off()
    titles = ("image", "mask", "score map", f"score > {threshold:.3f}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=80)


def _plot(axes: Axes, rows: list[dict[str, Any]], names: tuple[str, ...], *, zeros: bool) -> None:
    """Draw figures over the steps: those that are always 0 only where that is a score and no loss without weight."""
    every = max(1, len(rows) // _MARKERS)
    for name, style in zip(names, _STYLES, strict=False):
        values = [row.get(name, 0.0) for row in rows]
        if any(values) or (zeros and rows):
            steps = [row["step"] for row in rows]
            axes.plot(steps, values, style, label=name, linewidth=1.2, markersize=4, markevery=every)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
