"""The page of `nclf eval` in a real browser, opened from the disk."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from nclforensics.reports.render_html import render_html
from tests.browser.webdriver import CHROMIUM, DRIVER, Browser
from tests.evaluation_report import make_full_report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Chromium and chromedriver (Debian: chromium, chromium-driver)"
)
HEADING = "[...document.querySelectorAll('.sortable th')].find((cell) => cell.textContent === 'pixels')"
NAMES = "return [...document.querySelectorAll('.sortable tbody .path')].map((cell) => cell.textContent)"


def test_images_are_sorted_by_their_number_of_pixels(tmp_path: Path) -> None:
    """Not by their width, which comes first in the column."""
    report = make_full_report()
    sizes = {"wide.jpg": (900, 10), "tall.jpg": (20, 9000), "square.jpg": (300, 300)}
    rows = [
        dataclasses.replace(report.images[0], image=name, width=width, height=height)
        for name, (width, height) in sizes.items()
    ]
    page = tmp_path / "report.html"
    page.write_text(render_html(dataclasses.replace(report, images=tuple(rows))), encoding="utf-8")
    with Browser() as browser:
        browser.open(page)
        browser.run(f"{HEADING}.querySelector('button').click()")
        assert browser.run(NAMES) == ["tall.jpg", "square.jpg", "wide.jpg"]
        browser.run(f"{HEADING}.querySelector('button').click()")
        assert browser.run(NAMES) == ["wide.jpg", "square.jpg", "tall.jpg"]
