"""Settings from YAML, strictly: a key that nobody reads, or a value of another type, is an error
that names the key.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from os import PathLike
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from trireid.models import read_yaml
from trireid.samples import ConfigError
from trireid.training.settings import Settings

Made = TypeVar("Made")


def read_settings(path: str | PathLike[str]) -> Settings:
    """The settings that a YAML file holds. Raises ConfigError, naming the file and the key."""
    return settings_of(read_yaml(path))


def settings_of(mapping: Mapping[str, Any]) -> Settings:
    """The settings that a mapping holds. Raises ConfigError, naming the key."""
    return _dataclass(Settings, mapping, "")


def _dataclass(kind: type[Made], given: Any, where: str) -> Made:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: expected keys below it, not {given!r}", where)
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{_under(where, key)}: nobody reads this key{_guess(key, known)}",
                _under(where, key),
            )
    for name, part in known.items():
        if name not in given and part.default is MISSING and part.default_factory is MISSING:
            raise ConfigError(f"{_under(where, name)}: is missing", _under(where, name))
    values = {key: _value(hints[key], value, _under(where, key)) for key, value in given.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(
            f"{where}: {error.message}" if where else error.message, error.field
        ) from error


def _guess(key: object, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(str(key), known, 1)
    return f"; is {near[0]} meant?" if near else f"; known: {', '.join(known)}"


def _under(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _value(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return (
            None
            if value is None
            else _value(next(a for a in get_args(hint) if a is not types.NoneType), value, where)
        )
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint, value, where)
    try:
        return _scalar(hint, value)
    except (TypeError, ValueError) as error:
        choices = f"; one of {', '.join(member.value for member in hint)}" if _is_enum(hint) else ""
        raise ConfigError(f"{where}: {value!r} makes no sense there{choices}", where) from error


def _tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, not {value!r}", where)
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        raise ConfigError(f"{where}: expected {len(hints)} values, not {len(value)}", where)
    return tuple(_value(hint, part, where) for hint, part in zip(hints, value, strict=True))


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _scalar(hint: Any, value: Any) -> Any:
    if _is_enum(hint):  # YAML reads a bare on and off as booleans
        return hint(
            {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        )
    if hint is float and isinstance(value, str | int | float) and not isinstance(value, bool):
        return float(value)  # YAML reads 5e-6, without a point, as text
    if type(value) is not hint:
        raise TypeError(value)
    return value
