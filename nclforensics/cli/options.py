"""Options that several commands share, each with its help text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Precision(StrEnum):
    """Number format of the network's arithmetic."""

    FP32 = "fp32"
    BF16 = "bf16"


DeviceOption: TypeAlias = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.", metavar="NAME")
]
WeightsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="A bundled model's name, a model folder or a run folder of `nclf train`. Default: the bundled model.",
        metavar="NAME|DIR",
    ),
]
PrecisionOption: TypeAlias = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="bf16 is faster where the processor has it; scores differ, and no error rate was measured in it.",
    ),
]
TileOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--tile",
        help="Side in pixels of the tiles that larger images are cut into. The models that come with nclf need 448 or "
        "more.",
        min=64,
        max=32768,
    ),
]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
ForceOption: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace earlier results; also write inside an input folder.")
]
DataRootOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help='Folder that holds the benchmarks\' folders, or a TOML file of NAME = "PATH". Also: NCLF_DATA.',
        metavar="DIR|TOML",
        show_default=False,
    ),
]
AllowMissingOption: TypeAlias = Annotated[
    bool,
    typer.Option("--allow-missing", help="Go on without images that have no mask, and masks that have no image."),
]
