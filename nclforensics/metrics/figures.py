"""Every figure of one image's pixels by name, in the order of the report. docs/metrics.md defines each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nclforensics.metrics.confusion import Confusion, confusion_at
from nclforensics.metrics.noscore import scored_pixels
from nclforensics.metrics.pixel import auc, average_precision, best_f1, level_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIXED_THRESHOLD: Final = 0.5
NOSCORE_SHARE: Final = "noscore_tampered_share"  # of the scored pixels: the chance level depends on it


@dataclass(frozen=True)
class FigureThresholds:
    """The thresholds beside 0.5.

    Attributes:
        label: How figures at `at_rate` are called, such as "fpr5".
        at_rate: Threshold set at a false-positive rate; None where there is none.
        model: The model's default threshold.
    """

    label: str
    at_rate: float | None
    model: float


def figure_names(label: str) -> tuple[str, ...]:
    """Return the names of an image's figures in the order of the report; `label` as in `FigureThresholds`."""
    at_half = ("f1_permute", "f1_macro", "f1_noscore", "f1_noscore_permute")
    tables = (f"iou@{label}", "iou@0.5", f"mcc@{label}", "mcc@0.5")
    return (f"f1@{label}", "f1@0.5", "f1@model", "f1_best", *at_half, *tables, "pixel_auc", "pixel_ap", NOSCORE_SHARE)


def pixel_figures(
    score_map: NDArray[np.float32], mask: NDArray[np.bool_], thresholds: FigureThresholds
) -> tuple[dict[str, float | None], Confusion]:
    """Measure one tampered image.

    Args:
        score_map: Scores, shape (H, W), in [0, 1].
        mask: Ground truth, bool (H, W).
        thresholds: Beside 0.5, which is always among them.

    Returns:
        Figures by name, all those of `figure_names`, None where one is undefined; and the counts at 0.5, for pooling.
        For a mask without a tampered pixel every figure is None and the counts are empty: F1 would be 0 for any map.

    Raises:
        ShapeError: If the shapes differ.
    """
    fixed = confusion_at(score_map, mask, threshold=FIXED_THRESHOLD)
    names = figure_names(thresholds.label)
    if not mask.any():
        return dict.fromkeys(names), Confusion()
    found = {
        "f1@0.5": fixed.f1,
        "f1@model": confusion_at(score_map, mask, threshold=thresholds.model).f1,
        "f1_permute": max(fixed.f1, fixed.complement.f1),
        "f1_macro": (fixed.f1 + fixed.inverted.f1) / 2,
        "iou@0.5": fixed.iou,
        "mcc@0.5": fixed.mcc,
        **_at_rate(score_map, mask, thresholds),
        **_noscore(score_map, mask),
        **_threshold_free(score_map, mask),
    }
    return {name: found.get(name) for name in names}, fixed


def _at_rate(
    score_map: NDArray[np.float32], mask: NDArray[np.bool_], thresholds: FigureThresholds
) -> dict[str, float | None]:
    if thresholds.at_rate is None:
        return {}
    counts = confusion_at(score_map, mask, threshold=thresholds.at_rate)
    label = thresholds.label
    return {f"f1@{label}": counts.f1, f"iou@{label}": counts.iou, f"mcc@{label}": counts.mcc}


def _noscore(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the figures outside the border; none if no tampered pixel is left there."""
    counts = confusion_at(score_map, mask, threshold=FIXED_THRESHOLD, scored=scored_pixels(mask))
    if not counts.tampered:
        return {}
    return {
        "f1_noscore": counts.f1,
        "f1_noscore_permute": max(counts.f1, counts.complement.f1),
        NOSCORE_SHARE: counts.tampered / counts.total,
    }


def _threshold_free(score_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> dict[str, float | None]:
    counts = level_counts(score_map, mask)
    return {"f1_best": best_f1(counts), "pixel_auc": auc(counts), "pixel_ap": average_precision(counts)}
