"""Whether a dataclass holds what it declares: its values come from a file, which may say anything."""

from __future__ import annotations

import dataclasses
import sys
import types
from typing import Any, Union, get_args, get_origin, get_type_hints


def check_fields(record: object) -> None:
    """Check each field of a dataclass against its type, and so those of dataclasses in it.

    An integer may stand for a float, as in JSON. No number may be infinite, or larger than a float can be.

    Raises:
        ValueError: If a field holds something else; the message names the first one.
    """
    for name, hint in get_type_hints(type(record)).items():
        _check(getattr(record, name), hint, where=name)


def _check(value: object, hint: Any, *, where: str) -> None:  # noqa: ANN401 - type hints have no common type
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, tuple):
        for item in value:
            _check(item, get_args(hint)[0], where=where)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            _check(key, get_args(hint)[0], where=where)
            _check(item, get_args(hint)[1], where=f"{where}.{key}")
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, hint):
        check_fields(value)
    elif not _is_one_of(value, get_args(hint) if origin in (Union, types.UnionType) else (hint,)):
        expected = hint.__name__ if isinstance(hint, type) else hint
        raise ValueError(f'expected {expected} for "{where}", found {value!r:.80}')


def _is_one_of(value: object, kinds: tuple[Any, ...]) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (type(value) in kinds or float in kinds) and abs(value) <= sys.float_info.max  # not a number is not
    return type(value) in kinds
