"""`nclf selftest`: does this installation compute what it should?"""

from __future__ import annotations

import dataclasses
import json as json_format
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nclforensics.cli.console import print_note, print_result
from nclforensics.cli.options import WeightsOption  # noqa: TC001 - read at run time
from nclforensics.errors import VerificationError

if TYPE_CHECKING:
    from nclforensics.pipelines.selftest import SelfTest

EXAMPLES: Final = "Examples:\n\nnclf selftest\n\nnclf selftest --json > selftest-of-this-machine.json"


def selftest(
    *,
    weights: WeightsOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
) -> None:
    """Scan a photo that comes with the model, on the CPU, and compare mask and scores with the known ones.

    Ends with 0 if they are identical, or, since processors round differently, within the tolerance that is printed;
    with 20 if not. The outcome says which.
    """
    from nclforensics.pipelines.selftest import run_selftest  # noqa: PLC0415 - torch loads only when needed

    outcome = run_selftest(weights)
    if json:
        verdict = {"passed": outcome.passed, "identical": outcome.identical}
        print_result(json_format.dumps({**verdict, **dataclasses.asdict(outcome)}, indent=2))
    else:
        _print_outcome(outcome)
    if not outcome.passed:
        raise VerificationError("This installation does not compute what the model's maker got: do not rely on it.")


def _print_outcome(outcome: SelfTest) -> None:
    from nclforensics.pipelines.run_document import changed_versions  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.selftest import SCORE_TOLERANCE  # noqa: PLC0415 - as above

    print_result(f"model    {outcome.model}, weights sha256 {outcome.weights_sha256}")
    print_result(f"mask     sha256 {outcome.mask_sha256}, expected {outcome.expected_sha256}")
    if outcome.identical:
        print_result("passed: the mask is identical byte for byte, and so are all scores")
    else:
        state = "passed within the tolerance" if outcome.passed else "FAILED"
        print_result(
            f"{state}: {outcome.mask_differing} of {outcome.pixels} pixels of the mask differ, scores by up to "
            f"{outcome.score_difference:.5f} (tolerance {SCORE_TOLERANCE})"
        )
    for sentence in changed_versions(outcome.expected_with, what="The expected values were made"):
        print_note(sentence)
