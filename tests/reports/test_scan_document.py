"""What a report says about a scan as a whole."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nclforensics.reports.render_scan_json import render_scan_json
from nclforensics.reports.scan_document import MEANINGS, rate_in_words, scan_document
from tests.scan_runs import make_document, make_finding, make_quiet_finding, make_run, make_skipped

OUTCOMES = (make_finding(), make_quiet_finding(), make_skipped())


def test_every_outcome_is_counted_also_those_that_did_not_occur() -> None:
    """A reader sees that none was inconclusive, instead of wondering."""
    document = make_document(OUTCOMES)
    assert document.counts == {
        "localized evidence": 1,
        "no localized evidence": 1,
        "inconclusive": 0,
        "skipped": 1,
    }
    assert document.problems == ()


def test_an_unfinished_scan_is_said_to_be_incomplete() -> None:
    """The report of a killed scan must not look like that of a finished one."""
    document = make_document(OUTCOMES, status="running", ended=None, images=5, counts={})
    assert "3 of 5 images" in document.problems[0]
    assert '"running"' in document.problems[0]


def test_records_removed_after_the_scan_are_noticed() -> None:
    """run.json counts what was written; fewer or other records are a problem."""
    run = make_run(OUTCOMES)
    counts = {"localized evidence": 0, "no localized evidence": 2, "skipped": 1}
    document = scan_document(run, counts=counts, unreadable=1, results_sha256="", run_sha256="")
    assert [problem.split(":")[0] for problem in document.problems] == [
        "Lines of results.jsonl that are no readable record, and are missing here",
        "The records are not those that run.json counts",
    ]


def test_an_unmeasured_threshold_is_said_to_be_unmeasured() -> None:
    """No rate is made up for a threshold that the user chose."""
    document = make_document(OUTCOMES)
    assert "at most 5.0% of 100 authentic photos" in rate_in_words(document.setting, document.calibration)
    unmeasured = dataclasses.replace(document.setting, false_positive_rate=None, authentic_images=None)
    assert "no false-positive rate was measured" in rate_in_words(unmeasured, document.calibration)


def test_the_wording_is_neutral() -> None:
    """A score map cannot know what is fake, genuine or proven."""
    document = make_document(OUTCOMES)
    words = " ".join((*MEANINGS, *MEANINGS.values(), *document.limits)).lower()
    assert not {"fake", "genuine", "forged", "forgery", "proven"} & set(words.replace(".", " ").split())


@pytest.mark.parametrize("outcomes", [OUTCOMES, ()])
def test_the_json_report_holds_the_records_unchanged(outcomes: tuple[object, ...]) -> None:
    """One document: the scan as a whole, and each record as results.jsonl has it."""
    shown = OUTCOMES if outcomes else ()
    report = json.loads("".join(render_scan_json(make_document(shown), shown)))
    assert report["schema_version"] == 1
    assert report["weights_sha256"] == "f" * 64
    assert report["images"] == [json.loads(json.dumps(outcome.to_record())) for outcome in shown]
