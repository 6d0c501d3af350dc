"""The options of `nclf scan` that no other command has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class FailOn(StrEnum):
    """What makes `nclf scan` end with exit code 10."""

    EVIDENCE = "evidence"


class Engine(StrEnum):
    """What `nclf scan` computes on."""

    LOCAL = "local"
    RAY = "ray"


PathsArgument: TypeAlias = Annotated[
    list[str] | None,  # not paths, which would make s3:/a of s3://a
    typer.Argument(
        help='Photos and folders, also as a URI such as s3://bucket/photos; "-" reads one path a line from stdin.'
    ),
]
OutOption: TypeAlias = Annotated[Path, typer.Option("--out", "-o", help="Folder for masks and records.", metavar="DIR")]
From0Option: TypeAlias = Annotated[
    Path | None,
    typer.Option("--from0", help='Also scan the paths in this file, NUL after each; "-" is stdin.', metavar="FILE"),
]
OverlayOption: TypeAlias = Annotated[bool, typer.Option("--overlay", help="Also write a picture for reading.")]
ScoreMapOption: TypeAlias = Annotated[bool, typer.Option("--score-map", help="Also write the scores as 16-bit PNG.")]
ThresholdOption: TypeAlias = Annotated[
    float | None, typer.Option("--threshold", help="Score above which a pixel counts.", min=0, max=1)
]
RateOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--fpr", help="Take the threshold calibrated for this false-positive rate, such as 0.05."),
]
MinRegionOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--min-region", help="Smallest region, as a share of the area. Default: the model's.", min=0, max=1),
]
CaseOption: TypeAlias = Annotated[str | None, typer.Option("--case", help="The case's identifier, for run.json.")]
OperatorOption: TypeAlias = Annotated[str | None, typer.Option("--operator", help="Who runs the scan, for run.json.")]
ResumeOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the scan in --out, its inputs named again: records whose input, outputs, weights and settings "
        "are unchanged are kept, the other images scanned.",
    ),
]
ReplaceOption: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace earlier results, unless --resume; also write inside an input folder.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", "--jsonl", help="Print each image's record to stdout as a line of JSON.")
]
FailOnOption: TypeAlias = Annotated[
    FailOn | None,
    typer.Option(
        "--fail-on",
        help="End with exit code 10 if any image shows localized evidence. Inconclusive and skipped images do not "
        "count; skipped ones end with 17 where none shows evidence.",
    ),
]
EngineOption: TypeAlias = Annotated[
    Engine,
    typer.Option("--engine", help="Scan on this machine, or on Ray's workers; needs pip install 'nclforensics[ray]'."),
]
RayAddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--ray-address", help="HOST:PORT of a Ray cluster. Default: one is started on this machine."),
]
RayWorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--ray-workers", help="Number of workers. Default: as many as the cluster has room for.", min=1),
]
VerboseOption: TypeAlias = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell the outcome of each image on stderr.")
]
