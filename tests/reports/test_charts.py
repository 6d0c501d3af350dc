from __future__ import annotations

import pytest

from nclforensics.reports.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, robustness_charts
from tests.evaluation_report import make_full_report, make_report


def test_values_are_where_they_belong() -> None:
    """0.5 lies half way up, the undegraded images at the left edge, the last level at the right."""
    jpeg = robustness_charts(make_full_report())[0]
    f1 = next(line for line in jpeg.lines if line.name == "f1@0.5")
    assert [mark.x for mark in f1.marks] == pytest.approx([LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT])
    assert f1.marks[0].y == pytest.approx((TOP + HEIGHT - BOTTOM) / 2)
    assert [mark.y for mark in f1.marks] == sorted(mark.y for mark in f1.marks)
    assert "0.400, quality 90" in f1.marks[1].text


def test_undefined_values_leave_a_gap() -> None:
    """The pixel AUC of the chain of posts is undefined in the fixture: the line ends before it."""
    social = robustness_charts(make_full_report())[1]
    assert {line.name: len(line.marks) for line in social.lines} == {
        "f1@0.5": 2,
        "pixel_auc": 1,
        "false-positive rate": 2,
    }


def test_a_figure_looks_the_same_in_every_chart() -> None:
    """One legend holds for all."""
    charts = robustness_charts(make_full_report())
    styles = {(line.name, line.style) for chart in charts for line in chart.lines}
    assert len(styles) == len({name for name, _ in styles}) == len({style for _, style in styles})


def test_labels_are_short() -> None:
    """The number of the level, or the side of a post."""
    labels = [[tick.text for tick in chart.ticks] for chart in robustness_charts(make_full_report())]
    assert labels == [["as is", "90", "50"], ["as is", "1080"]]


def test_no_robustness_no_charts() -> None:
    """Nothing is drawn that was not measured."""
    assert robustness_charts(make_report()) == ()
