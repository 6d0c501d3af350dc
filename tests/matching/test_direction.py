"""Which place is the copy: mean logits of another method's scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.matching.direction import CLEARLY, Suspicion, suspicion_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEFT, RIGHT = np.s_[:, :4], np.s_[:, 4:]


def _found(source: tuple[slice, slice], target: tuple[slice, slice], scores: NDArray[np.float32]) -> Suspicion | None:
    places = np.zeros((2, 3, 8), np.uint8)
    places[0][source] = places[1][target] = 1
    return suspicion_at(places[0], places[1], scores)


def test_logits_are_averaged_over_each_place() -> None:
    """Written out for two scores; a certain pixel counts as 1 - 1e-6."""
    scores = np.full((3, 8), 0.25, np.float32)
    scores[RIGHT] = 0.75
    scores[0, 4] = 1.0
    found = _found(LEFT, RIGHT, scores)
    assert found is not None
    assert found.source == pytest.approx(-math.log(3))
    assert found.target == pytest.approx((11 * math.log(3) + math.log(1e6)) / 12, rel=1e-4)


def test_overlap_is_left_out() -> None:
    """What belongs to both places cannot tell them apart."""
    scores = np.full((3, 8), 0.5, np.float32)
    scores[:, 2:6] = 0.99
    found = _found(np.s_[:, :6], np.s_[:, 2:], scores)
    assert found == Suspicion(0.0, 0.0)


def test_nothing_to_compare_within_each_other() -> None:
    """One place holds the other."""
    assert _found(np.s_[:, :6], np.s_[:, 2:4], np.zeros((3, 8), np.float32)) is None


@pytest.mark.parametrize(
    ("source", "target", "copy", "confirms"),
    [
        (-3.0, -3.0 + CLEARLY, None, False),
        (-3.0, -0.9, "target", False),
        (-3.0, 0.1, "target", True),
        (0.1, -3.0, "source", True),
        (5.0, 4.0, None, False),
    ],
)
def test_direction_and_confirmation(*, source: float, target: float, copy: str | None, confirms: bool) -> None:
    """A clear difference tells the copy; a positive logit there confirms it."""
    suspicion = Suspicion(source, target)
    assert (suspicion.copy, suspicion.confirms) == (copy, confirms)
