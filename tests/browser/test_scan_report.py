"""The page of `nclf report` in a real browser, opened from the disk."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from nclforensics.pipelines.report import ScanFolder, write_report
from nclforensics.reports.copy_words import copy_in_words
from nclforensics.reports.render_scan_html import render_scan_html
from nclforensics.reports.scan_document import Entry, Pictures
from tests.browser.webdriver import CHROMIUM, DRIVER, Browser
from tests.scan_runs import (
    COPY,
    make_document,
    make_finding,
    make_quiet_finding,
    make_skipped,
    write_run,
    write_scanned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nclforensics.results import Outcome

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Chromium and chromedriver (Debian: chromium, chromium-driver)"
)
ONERROR = "<img src=x onerror=alert(1)>.jpg"
NAMES = "return [...document.querySelectorAll('#table tbody .path button')].map((button) => button.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield one window for all tests that need no other size or colours."""
    with Browser() as window:
        yield window


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return the report on a scan: two findings with files, a hostile name, a quiet image and a skipped one."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    outcomes: list[Outcome] = [
        write_scanned(photos, out, "b10.png", image_score=0.95),
        write_scanned(photos, out, "b9.png", image_score=0.99, orientation=6, copies=(COPY,)),
        make_finding(ONERROR, image_score=0.92),
        make_quiet_finding("calm.png"),
        make_skipped("torn.jpg"),
    ]
    return write_report(ScanFolder(write_run(out, outcomes)), "html")


def _open(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_until("document.querySelector('#table tbody tr')")


def _choose(browser: Browser, field: str, value: str) -> None:
    """Give a field of the form a value, as typing or choosing does."""
    browser.run(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change'));",
        field,
        value,
    )


def test_the_page_works_without_a_word_on_the_console(browser: Browser, page: Path) -> None:
    """Opened, every image looked at: no error, and nothing that the page's own policy had to refuse."""
    _open(browser, page)
    browser.run("document.querySelector('#table tbody button').click()")
    for _ in range(4):
        browser.run("document.getElementById('next').click()")
    assert browser.run("return document.getElementById('position').textContent") == "5 of 5"
    assert browser.console() == []


def test_a_name_with_markup_is_shown_as_text(browser: Browser, page: Path) -> None:
    """The browser shows the very characters, makes no element of them and runs nothing."""
    _open(browser, page)
    assert ONERROR in browser.run(NAMES)
    assert browser.run("return document.querySelectorAll('img[onerror], img[src=x]').length") == 0
    browser.run("[...document.querySelectorAll('#table tbody button')].find((b) => b.textContent[0] === '<').click()")
    assert browser.run("return document.getElementById('name').textContent") == ONERROR
    assert browser.console() == []


def test_the_policy_stops_what_is_not_the_pages_own(browser: Browser, page: Path) -> None:
    """Handlers, scripts and styles that got into the page by some mistake do nothing."""
    _open(browser, page)
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', "
        '\'<img src=x onerror="window.ran = 1"><p id=styled style="color: rgb(1, 2, 3)"></p>\');'
        "const script = document.createElement('script'); script.textContent = 'window.ran = 2';"
        "document.body.append(script);"
    )
    time.sleep(0.3)
    assert browser.run("return window.ran") is None
    assert browser.run("return getComputedStyle(document.getElementById('styled')).color") != "rgb(1, 2, 3)"
    assert "Content Security Policy" in " ".join(browser.console())


def test_the_table_can_be_filtered(browser: Browser, page: Path) -> None:
    """By name, by outcome, by score, and back; the count beside it follows."""
    _open(browser, page)
    _choose(browser, "find", "B1")
    browser.wait_until("document.querySelectorAll('#table tbody tr').length === 1")
    assert browser.run(NAMES) == ["b10.png"]
    assert browser.run("return document.getElementById('status').textContent").endswith("1 image matching, of 5")
    browser.run("document.getElementById('clear').click()")
    _choose(browser, "outcome", "skipped")
    assert browser.run(NAMES) == ["torn.jpg"]
    browser.run("document.getElementById('clear').click()")
    _choose(browser, "least", "0.95")
    assert browser.run(NAMES) == ["b10.png", "b9.png"]
    browser.run("document.getElementById('clear').click()")
    assert len(browser.run(NAMES)) == 5


def test_coming_back_shows_no_choices_that_the_table_does_not_follow(browser: Browser, page: Path) -> None:
    """Browsers fill in again what was chosen when a page is left and come back to."""
    chosen = "return ['outcome', 'least', 'opacity', 'size'].map((id) => document.getElementById(id).value)"
    _open(browser, page)
    untouched = browser.run(chosen)
    for field, value in (("outcome", "skipped"), ("opacity", "40"), ("size", "25")):
        _choose(browser, field, value)
    other = page.with_name("other.html")
    other.write_text("<p>another page</p>", encoding="utf-8")
    browser.open(other)
    browser.go_back()
    browser.wait_until("document.querySelector('#table tbody tr')")
    assert len(browser.run(NAMES)) == 5
    assert browser.run(chosen) == untouched


def test_an_accent_is_found_however_it_is_stored(browser: Browser, tmp_path: Path) -> None:
    """A Mac writes it as a character of its own, which looks the same and is never typed."""
    outcomes: list[Outcome] = [make_quiet_finding("cafe\u0301.jpg"), make_quiet_finding("tea.jpg")]
    _open(browser, write_report(ScanFolder(write_run(tmp_path / "out", outcomes)), "html"))
    _choose(browser, "find", "CAF\u00c9")
    browser.wait_until("document.getElementById('status').textContent.includes('match')")
    assert browser.run(NAMES) == ["cafe\u0301.jpg"]


def test_the_table_can_be_sorted(browser: Browser, page: Path) -> None:
    """Scores fall first, then rise; images without a score stay last; numbers in names count as numbers."""
    _open(browser, page)
    score = "document.querySelector('th[data-key=score]')"
    falling = ["b9.png", "b10.png", ONERROR, "calm.png", "torn.jpg"]
    browser.run(f"{score}.querySelector('button').click()")
    assert browser.run(NAMES) == falling
    assert browser.run(f"return {score}.getAttribute('aria-sort')") == "descending"
    browser.run(f"{score}.querySelector('button').click()")
    assert browser.run(NAMES) == [*reversed(falling[:4]), "torn.jpg"]
    assert browser.run("return document.querySelectorAll('th[aria-sort]').length") == 1
    browser.run("document.querySelector('th[data-key=path] button').click()")
    names = browser.run(NAMES)
    assert names.index("b9.png") < names.index("b10.png")


def test_an_image_is_shown_with_layers_and_boxes(browser: Browser, page: Path) -> None:
    """Photo below, overlay, score map or mask above it, opacity by slider, boxes where the regions are, upright."""
    _open(browser, page)
    browser.run("document.querySelectorAll('#table tbody button')[1].click()")
    browser.wait_until("document.getElementById('layer').naturalWidth")
    assert browser.run("return [...document.querySelectorAll('#layers label')].map((label) => label.textContent)") == [
        "Overlay",
        "Score map",
        "Mask",
    ]
    size = "(id) => [document.getElementById(id).naturalWidth, document.getElementById(id).naturalHeight]"
    sizes = browser.run(f"return ['photo', 'layer'].map({size})")
    assert sizes == [[80, 120], [80, 120]]
    _choose(browser, "opacity", "40")
    assert browser.run("return getComputedStyle(document.getElementById('layer')).opacity") == "0.4"
    # The region 10,20 30x40 of 120 x 80 pixels, a quarter turn clockwise: 20,10 40x30 of 80 x 120.
    box = browser.run("const style = document.querySelector('#boxes div').style; return [style.left, style.top]")
    assert box == ["25%", "8.33333%"]
    assert browser.run("return [...document.querySelectorAll('#viewer li')].map((item) => item.textContent)") == [
        copy_in_words(COPY)
    ]
    overlay = browser.run("return document.getElementById('layer').src")
    browser.run("document.querySelector('#layers input[value=mask]').click()")
    assert browser.run("return document.getElementById('layer').src") != overlay
    browser.run("document.getElementById('show-boxes').click()")
    assert browser.run("return document.getElementById('boxes').hidden") is True


def test_the_keyboard_is_enough(browser: Browser, page: Path) -> None:
    """Arrows move between rows and images, Enter opens, Escape closes and gives the focus back, visibly."""
    _open(browser, page)
    browser.run("document.querySelector('#table tbody button').focus()")
    browser.press("ArrowDown")
    assert browser.run("return document.activeElement.textContent") == "b9.png"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    browser.wait_until("document.getElementById('viewer').open")
    browser.press("ArrowRight")
    assert browser.run("return document.getElementById('position').textContent") == "3 of 5"
    browser.press("Escape")
    # The dialog is closed at once; its "close" event, which moves the focus to the image last seen, comes a task later.
    browser.wait_until(f"document.activeElement.textContent === {json.dumps(ONERROR)}")


def test_an_open_image_is_printed_from_its_name_on(page: Path) -> None:
    """Also where it is longer than a page; what has a meaning in colour keeps it."""
    with Browser(width=700, height=300) as browser:
        _open(browser, page)
        browser.run("document.querySelector('#table tbody button').click()")
        browser.take_paper()
        top, bottom = browser.run(
            "const place = document.getElementById('viewer').getBoundingClientRect(); return [place.top, place.bottom]"
        )
        assert bottom > 300
        assert top == 0
        for mark in ("#verdict .dot", "#boxes span"):
            found = f"getComputedStyle(document.querySelector('{mark}')).printColorAdjust"
            assert browser.run(f"return {found}") == "exact"


def test_colours_follow_the_reader_and_can_be_switched(browser: Browser, page: Path) -> None:
    """The system's choice at first; the button sets another one, on a page that has no storage."""
    background = "return getComputedStyle(document.body).backgroundColor"
    _open(browser, page)
    assert browser.run(background) == "rgb(255, 255, 255)"
    for _ in range(2):
        browser.run("document.getElementById('theme').click()")
    assert browser.run("return document.getElementById('theme').textContent") == "Colours: dark"
    assert browser.run(background) == "rgb(20, 23, 26)"
    with Browser(dark=True) as other:
        _open(other, page)
        assert other.run(background) == "rgb(20, 23, 26)"


def test_a_phone_shows_it_without_scrolling_sideways(page: Path) -> None:
    """Nothing is wider than the window, neither the page nor the view of an image."""
    wide = "return [document.documentElement.scrollWidth, document.getElementById('viewer').scrollWidth]"
    with Browser(width=360, height=740) as phone:
        _open(phone, page)
        phone.run("document.querySelector('#table tbody button').click()")
        assert max(phone.run(wide)) <= 360


def test_ten_thousand_images_stay_readable(browser: Browser, tmp_path: Path) -> None:
    """A page of rows at a time: there within seconds, filtered at once, every page can be reached, paper gets more."""
    outcomes = [make_finding(f"folder/IMG_{number:05d}.jpg", image_score=number / 10_000) for number in range(10_000)]
    page = tmp_path / "report.html"
    entries = (Entry(outcome, Pictures()) for outcome in outcomes)
    page.write_text(
        "".join(render_scan_html(make_document(outcomes), enumerate(entries, start=1), listed=len(outcomes)))
    )
    assert page.stat().st_size < 10_000_000
    start = time.monotonic()
    _open(browser, page)
    assert time.monotonic() - start < 15
    assert browser.run("return document.getElementById('page').textContent") == "Page 1 of 200"
    browser.run("document.getElementById('last').click()")
    assert browser.run(NAMES)[-1] == "IMG_09999.jpg"
    assert len(browser.run(NAMES)) == 50
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert len(browser.run(NAMES)) == 2000
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run(NAMES)[-1] == "IMG_09999.jpg"
    _choose(browser, "find", "img_0123")
    browser.wait_until("document.querySelectorAll('#table tbody tr').length === 10")
    assert browser.console() == []
