"""The evaluation report as JSON, and back: a report that was kept can be rendered again."""

from __future__ import annotations

import dataclasses
import json
import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from nclforensics.errors import UsageError
from nclforensics.reports.document import SCHEMA_VERSION, EvaluationReport

if TYPE_CHECKING:
    from collections.abc import Sequence


def render_json(report: EvaluationReport) -> str:
    """Return the report as indented ASCII JSON with a final newline; undefined figures are null, never NaN."""
    return _text(dataclasses.asdict(report))


def render_json_list(reports: Sequence[EvaluationReport]) -> str:
    """Return several reports as one JSON array."""
    return _text([dataclasses.asdict(report) for report in reports])


def read_json(text: str) -> EvaluationReport:
    """Return the report that `render_json` was given.

    Raises:
        UsageError: If the text is not the JSON of a report of this version.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"Expected the report.json of nclf eval, but it is not valid JSON: {error}.") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"Expected a report with schema_version {SCHEMA_VERSION}, found {version}. Evaluate again, or render it "
            "with the version of nclf that wrote it."
        )
    report = _built(EvaluationReport, data, where="the report")
    assert isinstance(report, EvaluationReport)
    return report


def _text(data: Any) -> str:  # noqa: ANN401 - a tree of plain values
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _built(hint: Any, value: Any, *, where: str) -> Any:  # noqa: ANN401 - a type hint, and a value of that type
    """Return a value as its type hint says: lists become tuples and objects become dataclasses."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            return _built_dataclass(kind, value, where=where)
        if get_origin(kind) is tuple and isinstance(value, list):
            return _built_tuple(get_args(kind), value, where=where)
        if get_origin(kind) is dict and isinstance(value, dict):
            return {key: _built(get_args(kind)[1], item, where=f"{where}, {key}") for key, item in value.items()}
    if type(value) in kinds:
        return value
    if float in kinds and type(value) is int:
        return float(value)
    raise _wrong(where, value)


def _built_dataclass(kind: Any, value: dict[str, Any], *, where: str) -> Any:  # noqa: ANN401 - as above
    hints = get_type_hints(kind)
    if hints.keys() != value.keys():
        raise _wrong(where, value)
    return kind(**{key: _built(hint, value[key], where=key) for key, hint in hints.items()})


def _built_tuple(kinds: tuple[Any, ...], value: list[Any], *, where: str) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _wrong(where, value)
    return tuple(_built(kind, item, where=where) for kind, item in zip(kinds, value, strict=True))


def _wrong(where: str, value: object) -> UsageError:
    return UsageError(f"Expected the report.json of nclf eval, but {where} holds {value!r:.60}.")
