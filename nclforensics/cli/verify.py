"""`nclf verify`: is a scan still what its records say?"""

from __future__ import annotations

import dataclasses
import json as json_format
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nclforensics.cli.console import print_note, print_result, print_table, progress_bar
from nclforensics.cli.options import QuietOption  # noqa: TC001 - read at run time
from nclforensics.errors import VerificationError
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from nclforensics.pipelines.verify import Verification

EXAMPLES: Final = "Examples:\n\nnclf verify masks/\n\nnclf verify masks/ --sample 20 --seed 7 --json"


def verify(
    run: Annotated[Path, typer.Argument(help="Output folder of a scan.", metavar="DIR")],
    *,
    sample: Annotated[
        int, typer.Option("--sample", help="Number of images to scan again and compare byte by byte.", min=0)
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Which images the sample holds.", min=0)] = 0,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="The model, if it is no longer where the scan took it.", metavar="NAME|DIR"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Check a scan: inputs and outputs have the recorded hashes, no record is missing, a sample comes out the same.

    Nothing is written. Ends with 0 if everything is as recorded, and with 20 if not.
    """
    from nclforensics.pipelines.resume import read_run  # noqa: PLC0415 - torch loads only when needed
    from nclforensics.pipelines.verify import verify_run  # noqa: PLC0415

    images = read_run(run)["images"]
    total = images if isinstance(images, int) and 0 < images <= sys.maxsize else None  # it may say anything
    with progress_bar(total=total, unit="image", quiet=quiet or json) as step:
        verification = verify_run(run, sample=sample, seed=seed, weights=weights, report=step)
    if json:
        print_result(json_format.dumps(dataclasses.asdict(verification), indent=2))
    elif not quiet:
        _print_verification(verification, run)
    if verification.differing:
        raise VerificationError(f"{verification.differing} of the facts about {run} are not as recorded.")


def _print_verification(verification: Verification, run: Path) -> None:
    from rich.table import Table  # noqa: PLC0415 - keeps `nclf --help` quick
    from rich.text import Text  # noqa: PLC0415

    table = Table("compared", "number", "differing", title=f"Verified {printable(str(run))}", title_justify="left")
    for check in verification.checks:
        table.add_row(Text(check.name), str(check.checked), str(check.differing))
    print_table(table, to_stdout=True)
    for check in verification.checks:
        for example in check.examples:
            print_note(f"{check.name}: {printable(example)}")
        if check.differing > len(check.examples):
            print_note(f"{check.name}: and {check.differing - len(check.examples)} more.")
    for note in verification.notes:
        print_note(printable(note))
