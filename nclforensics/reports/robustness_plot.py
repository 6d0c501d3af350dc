"""The robustness curves of a report as a PNG, for papers and slides; the HTML report draws its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from nclforensics.reports.charts import family_points, level_name, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nclforensics.reports.document import EvaluationReport, RobustnessPoint

mpl.use("Agg")  # files only: a server has no screen

_COLUMNS: Final = 3
_STYLES: Final = ("o-", "s--", "^:", "x-.")


def draw_robustness(report: EvaluationReport) -> bytes:
    """Return a PNG with one panel a degradation: every figure over the levels, the undegraded images at the left."""
    robustness = report.robustness
    assert robustness is not None
    rows = -(-len(robustness.degradations) // _COLUMNS)
    figure = Figure(figsize=(4.4 * _COLUMNS, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).flat
    for axes, text in zip(panels, robustness.degradations, strict=False):
        _draw(axes, family_points(robustness, text.family))
        axes.set_title(text.title)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    model, dataset = _plain(report.protocol.model), _plain(report.protocol.dataset)
    figure.suptitle(f"{model} on {dataset}: {robustness.subset}", fontsize=10)
    content = io.BytesIO()
    # Software would name itself with its version: the same report must give the same bytes everywhere.
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return content.getvalue()


def _draw(axes: Axes, points: tuple[RobustnessPoint, ...]) -> None:
    for style, (name, values) in zip(_STYLES, series(points).items(), strict=False):
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        axes.plot([place for place, _ in known], [value for _, value in known], style, label=name, markersize=4)
    labels = [level_name(point).replace(", then ", ",\nthen ") for point in points]
    axes.set_xticks(range(len(points)), labels, rotation=30, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)


def _plain(text: str) -> str:
    """Return a name that matplotlib takes for text: "$" would begin a formula, and fonts lack control characters."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text).replace("$", r"\$")
