"""The evaluation report as one HTML page that needs nothing else: no network, no other file, no right to run anything.

Every text of the report is escaped by the template engine, since file names come from strangers. On top of that the
page's Content-Security-Policy allows exactly one style sheet and one script, by their hashes, and pictures inside the
page: should an escape ever be missing, the browser would still run and load nothing.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from nclforensics.reports import charts
from nclforensics.reports.document import Measure
from nclforensics.reports.html_page import data_uri, environment, hex_color, policy, template_file
from nclforensics.reports.overlay import FALSE_ALARM, HIT, MISS, color_scale
from nclforensics.reports.peers import peers
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nclforensics.reports.document import Case, EvaluationReport, ImageRow

LISTED: Final = 500  # so many images are in the page's table; the CSV has all
_CARDS: Final = ("f1@0.5", "pixel_auc", "image_auc")
_PICTURES: Final = (
    ("photo and ground truth", "photo.jpg", "image/jpeg"),
    ("score map", "scores.png", "image/png"),
    ("prediction", "prediction.png", "image/png"),
)


def render_html(report: EvaluationReport, pictures: Mapping[str, bytes] | None = None) -> str:
    """Return the report as a page.

    Args:
        report: The report.
        pictures: Content of the cases' pictures by file name, as `Case.picture` says; a case without is left out.
    """
    style, script = template_file("evaluation.css"), template_file("evaluation.js")
    engine = environment().overlay(finalize=_printable)
    return engine.get_template("evaluation.html.j2").render(
        report=report,
        policy=policy(style, script, images="data:"),
        style=style,
        script=script,
        cards=_cards(report),
        protocol=[(name.replace("_", " "), value) for name, value in vars(report.protocol).items()],
        published=peers(report),
        charts=charts.robustness_charts(report),
        size=charts,
        cases=_cases_with_pictures(report.cases, pictures or {}),
        ramp=[hex_color(color) for color in color_scale()[::8].tolist()],
        verdicts=[("found", hex_color(HIT)), ("missed", hex_color(MISS)), ("false alarm", hex_color(FALSE_ALARM))],
        headline=report.measures[0].name,
        rows=_rows(report),
        command=shlex.join(report.origin.command),
        place=lambda value: round(4 + 136 * min(1.0, max(0.0, value)), 1),
    )


def _cards(report: EvaluationReport) -> list[Measure]:
    """Return what stands on top of the page: the headline, three more figures, and the false alarms of the model."""
    named = {item.name: item for item in report.measures if item.value is not None}
    cards = [report.measures[0], *(named[name] for name in _CARDS if name in named and name != report.measures[0].name)]
    for rate in report.flag_rates:
        if rate.name == "model" and rate.false_positive_rate is not None:
            title = "false-positive rate, model's threshold"
            cards.append(
                Measure(title, rate.false_positive_rate, rate.false_positive_interval, rate.authentic_count, "")
            )
    return cards


def _cases_with_pictures(
    cases: tuple[Case, ...], pictures: Mapping[str, bytes]
) -> list[tuple[Case, list[tuple[str, str]]]]:
    shown = []
    for case in cases:
        names = [(title, f"{case.picture}-{ending}", kind) for title, ending, kind in _PICTURES]
        if all(name in pictures for _, name, _ in names):
            shown.append((case, [(title, data_uri(pictures[name], kind)) for title, name, kind in names]))
    return shown


def _rows(report: EvaluationReport) -> list[ImageRow]:
    """Return at most `LISTED` images: tampered ones first, found worst first; then authentic ones by evidence."""
    headline = report.measures[0].name
    tampered = [row for row in report.images if not row.authentic]
    tampered.sort(key=lambda row: row.figures.get(headline) or 0.0)
    authentic = sorted((row for row in report.images if row.authentic), key=lambda row: -row.evidence)
    share = LISTED // 2
    kept = tampered[: max(share, LISTED - len(authentic))]
    return kept + authentic[: LISTED - len(kept)]


def _printable(value: object) -> object:
    """Escape characters that a page could not show, or that turn the direction of writing to disguise a name.

    The template engine calls it for every value that it writes, before it escapes what is HTML's; parts of the page
    that are HTML already have a method `__html__` and pass.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return printable(value)
