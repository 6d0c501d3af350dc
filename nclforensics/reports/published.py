"""Figures that others published, so that a report can print a model's row beside its peers' of the same protocol."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from nclforensics.errors import UsageError

AVERAGE: Final = "average"  # the column that holds a source's own mean over its data sets


@dataclass(frozen=True)
class PublishedRow:
    """One published figure of one method on one data set.

    Attributes:
        model: Name of the method as its source prints it.
        dataset: Name of the benchmark as commands call it, or "average" for the source's own mean.
        figure: Name of the figure as reports call it, such as "f1@0.5".
        value: The figure.
        average: The source's own mean over the sets of its table, None where it gives none.
        protocol: Name of the evaluation protocol.
        source: Where it was published.
        caveats: What to know before comparing with it.
    """

    model: str
    dataset: str
    figure: str
    value: float
    average: float | None
    protocol: str
    source: str
    caveats: str


def published_rows(protocol: str, dataset: str) -> tuple[PublishedRow, ...]:
    """Return what was published under a protocol for a data set, in the order of the data file.

    Args:
        protocol: Name of an evaluation protocol, such as "mvss".
        dataset: Name of a benchmark, such as "coverage", or "average".

    Returns:
        The rows; none where nothing was published for this data set.

    Raises:
        UsageError: If nothing at all was published under this protocol: figures of another one must not stand in.
    """
    rows = _all_rows()
    known = dict.fromkeys(row.protocol for row in rows)
    if protocol not in known:
        raise UsageError(
            f'There are no published figures under the protocol "{protocol}", and those of others are not comparable '
            f"with it. Measure with --protocol {' or '.join(known)} to print peers beside the model."
        )
    return tuple(row for row in rows if (row.protocol, row.dataset) == (protocol, dataset))


@cache
def _all_rows() -> tuple[PublishedRow, ...]:
    text = resources.files("nclforensics.reports").joinpath("published.toml").read_text(encoding="utf-8")
    return tuple(
        PublishedRow(
            model=model,
            dataset=dataset,
            figure=figure,
            value=value,
            average=values[table["columns"].index(AVERAGE)] if AVERAGE in table["columns"] else None,
            protocol=table["protocol"],
            source=table["source"],
            caveats=table["caveats"],
        )
        for table in tomllib.loads(text)["tables"]
        for figure, rows in table["rows"].items()
        for model, values in rows.items()
        for dataset, value in zip(table["columns"], values, strict=True)
    )
