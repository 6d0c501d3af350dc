from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from nclforensics.reports.robustness_plot import draw_robustness
from tests.evaluation_report import make_full_report


def test_picture_is_repeatable_and_shows_the_curves() -> None:
    """The same report gives the same bytes; other values give others."""
    report = make_full_report()
    content = draw_robustness(report)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), 1)
    assert picture is not None
    assert min(picture.shape[:2]) > 200
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # lines of several colours, not an empty sheet
    assert content == draw_robustness(report)


@pytest.mark.parametrize("field", ["dataset", "model"])
def test_a_name_is_no_formula(field: str) -> None:
    """Dollar signs would be typeset, and a broken formula is an error of matplotlib."""
    report = make_full_report()
    protocol = dataclasses.replace(report.protocol, **{field: "$\\frac{$ \x1b\U0001f600"})
    assert draw_robustness(dataclasses.replace(report, protocol=protocol)).startswith(b"\x89PNG")
