"""`nclf forge`: write a set of forged and authentic images with masks."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Final

import typer

from nclforensics.cli.console import print_note, print_result, progress
from nclforensics.cli.options import QuietOption  # noqa: TC001 - typer reads annotations at run time
from nclforensics.config import RunConfig, load_config
from nclforensics.errors import NclfError
from nclforensics.reports.printable import printable

EXAMPLES: Final = "Example: nclf forge --photos photos/ --out forged -n 1000 (then: nclf eval forged)"


def forge(
    *,
    photos: Annotated[
        Path,
        typer.Option("--photos", help="Folder of pristine photos, searched at any depth."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the set: new or empty, not among the photos.")],
    count: Annotated[int, typer.Option("--number", "-n", help="How many samples.", min=1)] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Same photos, configuration and seed: same set.", min=0)] = 0,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the samples in pixels, a multiple of 8. Default: 256.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="TOML file; its table [forge] sets shares, size and areas. A set's forge.toml is one."
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Forge a set from pristine photos: spliced, copy-moved, retouched and authentic images, each with its mask.

    The folder gets images/, masks/ (PNG, 0 and 255), manifest.csv, recipes.jsonl (what was done to each image) and
    forge.toml (the configuration).
    """
    from nclforensics.pipelines.forge import ForgeRequest, ForgeWriter, with_size  # noqa: PLC0415 - keeps --help quick

    settings = (load_config(config) if config else RunConfig()).forge
    writer = ForgeWriter(ForgeRequest(photos=photos, out=out, count=count, seed=seed, config=with_size(settings, size)))
    try:
        for _ in progress(writer.write(), total=count, unit="image", quiet=quiet):
            pass
    except NclfError:
        _note_unreadable(writer.pool.unreadable, quiet=False)
        raise
    summary = writer.summary()
    _note_unreadable(summary.unreadable, quiet=quiet)
    made = ", ".join(f"{number} {kind.replace('_', '-')}" for kind, number in summary.counts.items())
    print_note(f"{count} samples from {summary.photos} photos: {made}.", quiet=quiet)
    print_result(printable(str(out / "manifest.csv")))


def _note_unreadable(unreadable: dict[Path, str], *, quiet: bool) -> None:
    for path, reason in sorted(unreadable.items()):
        print_note(f"Skipped {printable(str(path))}: {reason}.", quiet=quiet)
