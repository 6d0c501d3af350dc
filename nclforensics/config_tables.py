"""From the tables of a TOML file to a configuration dataclass, with every key and type checked."""

from __future__ import annotations

import dataclasses
import difflib
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nclforensics.errors import ConfigError

ConfigT = TypeVar("ConfigT")


def from_tables(kind: type[ConfigT], tables: dict[str, Any], *, where: str) -> ConfigT:
    """Build a configuration dataclass from nested dictionaries, checking every key and type.

    Args:
        kind: One of the dataclasses of `nclforensics.config`.
        tables: As `tomllib` returns them.
        where: Named in error messages.

    Raises:
        ConfigError: On an unknown key (names the nearest known one) or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in tables.items():
        if key not in hints:
            raise ConfigError(f'Unknown key "{key}" in {where}.{_nearest(key, list(hints))}')
        hint = hints[key]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f'Expected a table "[{key}]" in {where}, got {value!r}.')
            values[key] = from_tables(hint, value, where=f"{where}, section [{key}]")
        else:
            values[key] = _checked(value, hint, key=key, where=where)
    return kind(**values)


def _nearest(key: str, known: list[str]) -> str:
    match = difflib.get_close_matches(key, known, n=1)
    return f' Did you mean "{match[0]}"?' if match else f" Known keys: {', '.join(sorted(known))}."


def _checked(value: Any, hint: Any, *, key: str, where: str) -> Any:  # noqa: ANN401 - TOML values are of any type
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    else:
        kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        if float in kinds and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) in kinds:
            return value
    names = map(repr, get_args(hint)) if get_origin(hint) is Literal else [getattr(hint, "__name__", str(hint))]
    expected = " or ".join(names)
    raise ConfigError(f'Expected {expected} for "{key}" in {where}, got {value!r}.')
