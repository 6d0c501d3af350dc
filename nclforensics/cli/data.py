"""`nclf data`: find data sets on this machine, check them, and rewrite them in layouts that every tool reads."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from nclforensics.cli.console import print_note, print_result, print_table
from nclforensics.cli.options import AllowMissingOption, DataRootOption, QuietOption  # noqa: TC001 - read at run time
from nclforensics.errors import DatasetError, OutputError
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from nclforensics.data.loaded_set import LoadedSet

CHECK_EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf data check casia --data-root /data --sheet casia.png\n\n"
    "nclf data check columbia:/data/my_columbia --json\n\n"
    "nclf data check mine/   (a folder with manifest.csv)"
)
CONVERT_EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf data convert coverage --to json --out coverage_json\n\n"
    "nclf data convert nist16:/data/NC2016 --to mani --out nist16_mani"
)
LIST_EXAMPLES: Final = "Example: nclf data list --data-root /data"
_NARROWEST, _PIPE_WIDTH = 80, 110

app = typer.Typer(help="Find, check and convert data sets.", no_args_is_help=True)

SpecArgument = Annotated[
    str,
    typer.Argument(
        help="A benchmark's name (casia means CASIA v2), NAME:PATH, or a path (manifest.csv, Tp/ and Gt/, a list).",
        metavar="NAME|PATH",
        show_default=False,
    ),
]


@app.command(epilog=CHECK_EXAMPLES, short_help="Report all that is odd about a data set.")
def check(
    spec: SpecArgument,
    *,
    data_root: DataRootOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report to stdout as JSON, not as a table.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            help="Also draw image, mask and outline of some pairs, odd ones first; replaces no file of the set.",
            metavar="PNG",
        ),
    ] = None,
    entries: Annotated[int, typer.Option("--entries", help="Pairs on the sheet.", min=1, max=400)] = 24,
    limit: Annotated[
        int, typer.Option("--limit", help="Look at so many pairs only, evenly chosen; 0: all.", min=0)
    ] = 0,
    quiet: QuietOption = False,
) -> None:
    """Find a data set, pair it, look at every mask and every image's header, and report all that is odd.

    Looked for: files without partner, duplicates, sizes that differ, masks that are turned, empty, inverted,
    shuffled or displaced, and numbers that are not the published ones. Ends with 0 if the set can be used (there
    may be warnings), with 15 if training and evaluation would refuse it. Nothing is changed or downloaded.
    """
    from nclforensics.data.sets import load_set  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.pipelines.data_report import check_dataset, draw_contact_sheet  # noqa: PLC0415 - as above
    from nclforensics.pipelines.outputs import write_atomic  # noqa: PLC0415 - as above
    from nclforensics.reports.dataset_document import render_dataset_json, render_dataset_text  # noqa: PLC0415

    if sheet is not None:
        _check_place(sheet)
    loaded = load_set(spec, data_root=data_root)
    if sheet is not None:
        _refuse_files_of_the_set(sheet, loaded)
    total = min(limit, len(loaded.pairs)) if limit else len(loaded.pairs)
    with _bar(total, quiet=quiet) as bar:
        report, checked = check_dataset(loaded, limit=limit, progress=bar.update)
    if as_json:
        print_result(render_dataset_json(report).rstrip("\n"))
    else:
        width = max(_NARROWEST, shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns)
        print_result(render_dataset_text(report, width=width).rstrip("\n"))
    if sheet is not None:
        drawn = draw_contact_sheet(loaded, checked, entries=entries)
        if drawn is None:
            print_note(f"Note: {printable(str(sheet))} was not drawn: there is no tampered image that can be used.")
        else:
            write_atomic(sheet, drawn)
    if not report.usable:
        raise typer.Exit(DatasetError.exit_code)


@app.command(epilog=CONVERT_EXAMPLES, short_help="Write a data set anew, in a layout that every tool reads.")
def convert(
    spec: SpecArgument,
    *,
    to: Annotated[
        Literal["manifest", "json", "mani"],
        typer.Option("--to", help="manifest.csv, or IMDLBenCo's JsonDataset (json) or ManiDataset (mani)."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the set: new, or empty.", metavar="DIR")],
    data_root: DataRootOption = None,
    allow_missing: AllowMissingOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a data set anew: masks of 0 and 255 in their images' sizes, and no pair that cannot be used.

    The set is checked first, as `nclf data check` does. Images are named where they lie, only mani copies them.
    """
    from nclforensics.data.sets import load_set  # noqa: PLC0415 - keeps `nclf --help` quick
    from nclforensics.pipelines.data_convert import convert_pairs  # noqa: PLC0415 - as above
    from nclforensics.pipelines.dataset_check import check_pairs, stop_at_errors, warnings_of  # noqa: PLC0415 - as above

    loaded = load_set(spec, data_root=data_root)
    stop_at_errors(loaded.anomalies, allow_missing=allow_missing)
    with _bar(len(loaded.pairs), quiet=quiet) as bar:
        checked = check_pairs(loaded.pairs, progress=bar.update)
    written = convert_pairs(checked.usable, to, out)
    for warning in warnings_of(loaded, checked):
        print_note(f"Note: {printable(warning)}", quiet=quiet)
    if loaded.indivisible:  # what was written does not know it
        print_note(f"Note: test on this set only, never split it: {loaded.indivisible}.", quiet=quiet)
    print_note(f"{len(checked.usable)} pairs written, {len(checked.skipped)} left out.", quiet=quiet)
    print_result(printable(str(written)))


@app.command("list", epilog=LIST_EXAMPLES, short_help="List the benchmarks by name, and where they were found.")
def list_sets(
    *,
    data_root: DataRootOption = None,
) -> None:
    """List the benchmarks that are known by name, what they consist of, and where they lie on this machine.

    They are looked for in the folder that --data-root names (in sub-folders called like them), in the one that the
    variable NCLF_DATA names, and in the lines NAME = "PATH" of nclforensics/data.toml in $XDG_CONFIG_HOME or ~/.config.
    """
    from rich.table import Table  # noqa: PLC0415 - keeps `nclf --help` quick

    from nclforensics.data.loaders import LOADERS  # noqa: PLC0415 - as above
    from nclforensics.data.roots import data_places, find_root  # noqa: PLC0415 - as above

    data_places(data_root)  # one that does not exist ends the command
    table = Table("name", "data set", "tampered", "authentic", "found in")
    for name, loader in LOADERS.items():
        facts = loader.facts
        try:
            found = str(find_root(name, data_root=data_root) or "-")
        except DatasetError as error:  # no reason to hide the others
            found = str(error)
        table.add_row(name, facts.title, f"{facts.tampered:,}", f"{facts.authentic:,}", printable(found))
    print_table(table, to_stdout=True)


def _check_place(sheet: Path) -> None:
    """Refuse a place where no file can be written, before anything is looked at.

    Raises:
        OutputError: With what is there.
    """
    try:
        is_file = stat.S_ISREG(sheet.stat().st_mode)
    except FileNotFoundError:
        is_file = True
    except OSError as error:
        raise OutputError(f"Cannot write {sheet}: {error.strerror}. Choose another name for the sheet.") from error
    if not (is_file and os.access(sheet.parent, os.W_OK)):
        raise OutputError(f"Cannot write {sheet}: expected a file in an existing, writable folder.")


def _refuse_files_of_the_set(sheet: Path, loaded: LoadedSet) -> None:
    """Refuse to replace a file of a set.

    Only what is no PNG or lies in the set's folder is known to need it, and the images and masks that lie elsewhere:
    a mask whose image is missing may be in no list.

    Raises:
        OutputError: If the sheet's name is that of such a file.
    """
    if not sheet.exists():
        return
    is_inside = sheet.resolve().is_relative_to(loaded.folder.resolve())
    if is_inside or sheet.suffix.lower() != ".png" or loaded.has_file(sheet):
        raise OutputError(
            f"Expected a new file, or an earlier sheet outside {loaded.folder}, at {sheet}, found a file that may "
            "belong to the data set. Choose another name for the sheet."
        )


def _bar(total: int, *, quiet: bool) -> Any:  # noqa: ANN401 - tqdm has no types
    """Return a progress bar on stderr; silent if quiet or if stderr is no terminal."""
    from tqdm import tqdm  # noqa: PLC0415 - keeps `nclf --help` quick

    hidden = True if quiet else None  # None: tqdm asks whether stderr is a terminal
    return tqdm(total=total, unit="pair", file=sys.stderr, disable=hidden, dynamic_ncols=True)
