"""Names of unknown origin made visible."""

from __future__ import annotations

import pytest

from nclforensics.reports.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u6771\u4eac.jpg", "caf\u00e9 \u6771\u4eac.jpg"),
        ("a\nb\tc.jpg", "a\\nb\\tc.jpg"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066x\u200b.jpg", "\\u2066x\\u200b.jpg"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("line\u2028break", "line\\u2028break"),
    ],
)
def test_what_cannot_be_seen_becomes_visible(text: str, shown: str) -> None:
    """Controls, marks of direction, invisible spaces and undecodable bytes are escaped; letters stay."""
    assert printable(text) == shown


def test_what_a_font_lacks_is_escaped() -> None:
    """A character that would be drawn as an empty box is written as its code."""
    assert printable("a\u6771", font={ord("a")}) == "a\\u6771"


def test_what_is_written_from_right_to_left_is_escaped_where_letters_are_only_set_side_by_side() -> None:
    """A font has the letters and would show the name backwards."""
    name = "\u05ea1 \u0635.jpg"
    assert printable(name) == name
    assert printable(name, font=set(map(ord, name))) == "\\u05ea1 \\u0635.jpg"
