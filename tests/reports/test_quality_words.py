"""Quality facts in words."""

from __future__ import annotations

import dataclasses

from nclforensics.reports.quality_words import quality_in_words
from tests.scan_runs import FACTS


def test_traces_are_told_with_their_strength() -> None:
    """A hint is worth as much as its figure, which stands beside it."""
    words = dict(quality_in_words(FACTS))
    assert words["JPEG"] == "quality 85 (standard tables), 4:2:0"
    assert words["earlier JPEG"] == "trace of a saving at about quality 60 (gain 0.040 nats a coefficient)"
    assert words["resizing"] == "periodic trace at 0.250 cycles a pixel (peak 9.3)"
    assert words["hints"] == "as if enlarged, like a screenshot, levels changed"
    assert words["levels"] == "unevenness 0.36 (0 a smooth histogram)"


def test_what_was_not_found_is_said_to_be_not_found() -> None:
    """No trace is no proof that nothing happened, and no empty line either; a PNG has no JPEG facts."""
    calm = dataclasses.replace(
        FACTS,
        jpeg_quality=None,
        earlier_jpeg_quality=None,
        resampling_frequency=None,
        upscaled=False,
        screenshot_like=False,
        level_unevenness=None,
        levels_changed=False,
    )
    words = dict(quality_in_words(calm))
    assert "JPEG" not in words
    assert words["earlier JPEG"].startswith("no trace found")
    assert words["resizing"].startswith("no trace found")
    assert words["levels"] == "not measured"
    assert words["hints"] == "none"


def test_facts_that_were_not_asked_for_are_left_out() -> None:
    """Nothing is made up."""
    assert quality_in_words(None) == []
