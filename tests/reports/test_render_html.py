from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.reports.render_html import LISTED, render_html
from tests.evaluation_report import make_full_report, make_report

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.reports.document import EvaluationReport, ImageRow

BROWSER = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>.jpg'


class Outline(HTMLParser):
    """The elements of a page that could load or run something, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def pictures() -> dict[str, bytes]:
    """Return the pictures of the one case of the full report."""
    done, content = cv2.imencode(".png", np.full((30, 40, 3), 200, dtype=np.uint8))
    assert done
    return {f"cases/01-best-{end}": content.tobytes() for end in ("photo.jpg", "scores.png", "prediction.png")}


def test_page_holds_what_is_needed_to_read_and_repeat() -> None:
    """Figures with interval and chance, protocol, peers, flags, curves, cases, skipped images, command, digests."""
    text = " ".join(Outline(render_html(make_full_report(), pictures())).text.split())
    for expected in (
        "0.250 to 0.750",
        "the threshold_rule",
        "A Net",
        "the training_match",
        "3 of 100",
        "Social-network chain",
        "a warning",
        "0.jpg",
        "it is empty",
        "nclf eval 'a set'",
        "ab" * 32,
        "the weights_sha256",
        "python 3.11",
        "2026-11-23T18:00:00+00:00",
        "protocol = native",
    ):
        assert expected in text


def test_sections_without_content_are_left_out() -> None:
    """No empty tables of peers, robustness or cases."""
    page = render_html(make_report())
    for section in ("published", "robustness", "cases"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page


@pytest.mark.parametrize("place", ["image", "dataset", "reason", "command", "warning", "model"])
def test_text_of_strangers_is_only_text(place: str) -> None:
    """A name that looks like HTML adds no element, and is shown as it is."""
    report = make_full_report()
    item = dataclasses.replace(report.skipped[0], reason=EVIL)
    evil: EvaluationReport = {
        "image": make_full_report(image=EVIL),
        "dataset": dataclasses.replace(report, protocol=dataclasses.replace(report.protocol, dataset=EVIL)),
        "reason": dataclasses.replace(report, skipped=(item,)),
        "command": dataclasses.replace(report, origin=dataclasses.replace(report.origin, command=(EVIL,))),
        "warning": dataclasses.replace(report, warnings=(EVIL,)),
        "model": dataclasses.replace(report, protocol=dataclasses.replace(report.protocol, model=EVIL)),
    }[place]
    plain, outline = Outline(render_html(report, pictures())), Outline(render_html(evil, pictures()))
    assert plain.tags == outline.tags
    assert EVIL in outline.text
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "style"]


def test_page_needs_nothing_else() -> None:
    """Every picture is inside, no address leads out, and the policy allows exactly our style and script."""
    page = render_html(make_full_report(), pictures())
    outline = Outline(page)
    links = [value for name, value in outline.attributes if name in ("src", "href")]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "http" not in page.replace("http-equiv", "")
    policy = next(value for name, value in outline.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_disguising_characters_are_escaped() -> None:
    """A right-to-left override would show gpj.exe as exe.jpg."""
    page = render_html(make_report(image="\u202egpj.exe\x1b"))
    assert "\u202e" not in page
    assert "\\u202egpj.exe\\x1b" in page


def test_case_without_its_pictures_is_left_out() -> None:
    """A report that is rendered again without its folder still renders."""
    assert "<img" not in render_html(make_full_report())
    assert render_html(make_full_report(), pictures()).count("<img") == 3


def test_table_of_a_large_set_is_cut() -> None:
    """The worst tampered and the most suspicious authentic images are kept, and the page says that there are more."""
    report = make_report()
    tampered, authentic = report.images
    rows: list[ImageRow] = []
    for number in range(1000):
        figures: dict[str, float | None] = {"f1@0.5": number / 1000}
        rows.append(dataclasses.replace(tampered, image=f"t{number:04d}", figures=figures))
        rows.append(dataclasses.replace(authentic, image=f"a{number:04d}", evidence=number / 1000))
    page = render_html(dataclasses.replace(report, images=tuple(rows)))
    assert len(re.findall(r"<code>[ta]\d{4}</code>", page)) == LISTED
    assert f"{LISTED} of 2000 measured images" in page
    assert ("t0000" in page, "t0999" in page, "a0999" in page, "a0000" in page) == (True, False, True, False)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome, none is installed")
def test_browser_shows_the_page_without_complaint(tmp_path: Path) -> None:
    """Our style and script pass the page's own policy, the script runs, and nothing is logged to the console."""
    page = tmp_path / "report.html"
    page.write_text(render_html(make_full_report(image=EVIL), pictures()), encoding="utf-8")
    result = browse(page, tmp_path)
    assert "CONSOLE" not in result.stderr
    assert '<button type="button">image</button>' in result.stdout  # made by the script


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome, none is installed")
def test_browser_runs_nothing_else(tmp_path: Path) -> None:
    """Were an escape missing, the policy would still stop what a stranger wrote."""
    page = tmp_path / "report.html"
    evil = "<script>document.title = 'owned'</script><p onclick=alert(1) style='color:red'>"
    page.write_text(render_html(make_report()).replace("<main>", f"<main>{evil}"), encoding="utf-8")
    result = browse(page, tmp_path)
    assert "Refused" in result.stderr or "violates" in result.stderr
    assert "<title>owned" not in result.stdout


def browse(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Load a page in a browser without a window and return its final HTML and what it logged."""
    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--dump-dom"]
    return subprocess.run(  # noqa: S603 - an installed browser and our own page
        [BROWSER, *options, page.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )
