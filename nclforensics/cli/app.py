"""The `nclf` command: its subcommands, and the one place where an error of ours becomes a message and an exit code."""

from __future__ import annotations

import errno
import sys
from itertools import pairwise
from typing import Annotated, Final, NoReturn

import typer

from nclforensics import __version__
from nclforensics.cli.console import print_error
from nclforensics.cli.data import app as data_app
from nclforensics.cli.eval import EXAMPLES as EVAL_EXAMPLES
from nclforensics.cli.eval import evaluate
from nclforensics.cli.export import EXAMPLES as EXPORT_EXAMPLES
from nclforensics.cli.export import export
from nclforensics.cli.forge import EXAMPLES as FORGE_EXAMPLES
from nclforensics.cli.forge import forge
from nclforensics.cli.kernels import kernels
from nclforensics.cli.report import EXAMPLES as REPORT_EXAMPLES
from nclforensics.cli.report import report
from nclforensics.cli.scan import EXAMPLES as SCAN_EXAMPLES
from nclforensics.cli.scan import scan
from nclforensics.cli.selftest import EXAMPLES as SELFTEST_EXAMPLES
from nclforensics.cli.selftest import selftest
from nclforensics.cli.streams import EXIT_PIPE_CLOSED, prepare_streams
from nclforensics.cli.torch_environment import prepare_torch
from nclforensics.cli.train import EXAMPLES as TRAIN_EXAMPLES
from nclforensics.cli.train import train
from nclforensics.cli.verify import EXAMPLES as VERIFY_EXAMPLES
from nclforensics.cli.verify import verify
from nclforensics.errors import EXIT_DONE, EXIT_INTERRUPTED, MissingInputError, NclfError, OutputError, UsageError

EXIT_CODES = (
    "Exit codes: 0 done, 1 a bug of ours, 2 usage, 10 what --fail-on names was found, 11 missing input, "
    "12 no readable image, 13 weights missing, 14 weights do not match, 15 data set invalid, 16 device unavailable, "
    "17 some images were skipped, 18 training diverged, 19 cannot write, 20 verification failed, 130 interrupted, "
    "141 the reader of the output went away."
)

# What the system says of places that a user named, and that are no bug of ours, wherever it says so.
_NO_ACCESS: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP})

app = typer.Typer(
    name="nclf",
    help="Localize image manipulation: which pixels of a photo were spliced in, copied over or removed.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes what stands in square brackets, such as an extra's name, for markup
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if value:
        typer.echo(f"nclf {__version__}")
        raise typer.Exit


@app.callback()
def nclf(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Localize image manipulation: which pixels of a photo were spliced in, copied over or removed."""


app.command(epilog=SCAN_EXAMPLES, short_help="Write masks for photos: which regions have an elevated score.")(scan)
app.command(epilog=REPORT_EXAMPLES, short_help="Write a report on a scan: a page, a PDF, a table or JSON.")(report)
app.command(epilog=VERIFY_EXAMPLES, short_help="Check that a scan is still what its records say.")(verify)
app.command(epilog=SELFTEST_EXAMPLES, short_help="Check that this installation computes what it should.")(selftest)
app.command(epilog=TRAIN_EXAMPLES, short_help="Train a network from scratch.")(train)
app.command("eval", epilog=EVAL_EXAMPLES, short_help="Measure a model on images with ground truth.")(evaluate)
app.command("evaluate", hidden=True)(evaluate)
app.command(epilog=FORGE_EXAMPLES, short_help="Forge a set from pristine photos.")(forge)
app.command(epilog=EXPORT_EXAMPLES, short_help="Write a model as one ONNX file.")(export)
app.add_typer(data_app, name="data")
app.add_typer(kernels, name="kernels", short_help="Show and compile the CUDA kernels of training.")


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with one of EXIT_CODES; a bug of ours ends in a traceback.

    Args:
        argv: Arguments without the program's name; None takes the process's own.
    """
    prepare_streams()
    prepare_torch()  # before a command imports PyTorch
    arguments = sys.argv[1:] if argv is None else argv
    try:
        _refuse_empty(arguments)
        app(args=arguments, prog_name="nclf", obj=["nclf", *arguments])
        code = EXIT_DONE
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_DONE
    except NclfError as error:
        print_error(str(error))
        code = error.exit_code
    except OSError as error:
        if error.errno not in _NO_ACCESS or error.filename is None:
            raise
        print_error(f"Cannot look at {error.filename}: {error.strerror}. Name another, or get the right to read it.")
        code = MissingInputError.exit_code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        print_error("Interrupted. What was finished before is kept.")
    sys.exit(_flushed(code))


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse an empty argument: as a path it would be the current folder, and nobody types one on purpose."""
    for before, argument in pairwise(["nclf", *arguments]):
        name, equals, value = argument.partition("=")
        if not argument or (name.startswith("--") and equals and not value):
            raise UsageError(
                f"Expected a value after {name or before}, got an empty string. Is a shell variable not set?"
            )


def _flushed(code: int) -> int:
    """Return the code after writing out what is buffered; a stdout that fails must not end in a traceback."""
    try:
        sys.stdout.flush()
    except SystemExit:
        return EXIT_PIPE_CLOSED
    except OutputError as error:
        print_error(str(error))
        return error.exit_code
    return code
