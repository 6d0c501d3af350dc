"""Copies in words."""

from __future__ import annotations

import dataclasses

from nclforensics.reports.copy_words import copy_in_words
from tests.scan_runs import COPY


def test_the_copy_is_told_from_its_original_where_it_is_known() -> None:
    """Size, place, and how alike they are."""
    alike = "correlation of the detail 0.970, 12 matching points"
    assert copy_in_words(COPY) == f"31 x 42 at (10, 20) looks copied from 30 x 40 at (1, 2): {alike}"
    unknown = copy_in_words(dataclasses.replace(COPY, directed=False))
    assert unknown == (
        f"30 x 40 at (1, 2) and 31 x 42 at (10, 20) show the same content: {alike}; which one is the copy is not known"
    )
