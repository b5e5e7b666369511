"""Filters: what a caller says of items, as a condition of the store.

`{"camera": 3}` equal · `{"camera": [1, 2]}` one of · `{"time": {"gte": "...", "lt": "..."}}` a range · any attribute by name.
Several keys must all hold. Text is asked for in Unicode NFC, as it is stored, and in the other forms that older stores may
hold. Times in ISO 8601 are compared as moments, whatever their offset (UTC where there is none); other times as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from samples import GalleryError
from samples.text import forms_of, normalize_text

COLUMNS: Final = ("id", "identity", "camera", "scene", "time", "kind", "purpose", "expires")
MAX_KEYS: Final = 64
_COMPARISONS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
#: The columns that hold times as instants.
_INSTANTS: Final = {"time": "instant", "expires": "expiry"}
Condition = tuple[str, list[Any]]
#: Holds for the items that expired up to a time, in seconds since 1970: retention removes them, and no search finds them.
EXPIRED: Final = "expiry <= ?"


def condition(where: Mapping[str, Any]) -> Condition:
    """A filter as an SQL condition over `items` and its parameters. Raises GalleryError, naming the key, for a bad filter."""
    if not isinstance(where, Mapping):
        raise GalleryError('where must be an object, as in {"camera": [1, 2]}', "where")
    if len(where) > MAX_KEYS:
        raise GalleryError(f"where: {MAX_KEYS} keys at most, not {len(where)}", "where")
    parts = [_one(key, wanted) for key, wanted in where.items()]
    return " AND ".join(part for part, _ in parts) or "1", [value for _, values in parts for value in values]


def _one(key: str, wanted: Any) -> Condition:
    column, prefix = (key, []) if key in COLUMNS else _attribute(key)
    if key in _INSTANTS and (moments := _moments(wanted)) is not None:
        column, wanted = _INSTANTS[key], moments
    if isinstance(wanted, Mapping):
        return _range(key, column, prefix, wanted)
    if isinstance(wanted, list | tuple):
        return _one_of(column, prefix, [form for value in wanted for form in _forms(_scalar(key, value))])
    if wanted is None:
        return f"{column} IS NULL", prefix
    forms = _forms(_scalar(key, wanted))
    return _one_of(column, prefix, forms) if len(forms) > 1 else (f"{column} = ?", [*prefix, *forms])


def _one_of(column: str, prefix: list[Any], values: list[Any]) -> Condition:
    return f"{column} IN (SELECT value FROM json_each(?))", [*prefix, json.dumps(values)]


def _forms(value: Any) -> list[Any]:
    return list(forms_of(value)) if isinstance(value, str) else [value]


def _attribute(key: str) -> Condition:
    """An attribute's value as SQL, by each form of its name."""
    paths: list[Any] = [_json_path(form) for form in forms_of(key)]
    values = ", ".join(["json_extract(attributes, ?)"] * len(paths))
    return (f"coalesce({values})" if len(paths) > 1 else values), paths


def _range(key: str, column: str, prefix: list[Any], wanted: Mapping[str, Any]) -> Condition:
    unknown = [name for name in wanted if name not in _COMPARISONS]
    if unknown or not wanted:
        raise GalleryError(
            f"where.{key}: a range takes {', '.join(_COMPARISONS)}, not {', '.join(unknown) or 'nothing'}", "where"
        )
    parts = [f"{column} {_COMPARISONS[name]} ?" for name in wanted]
    return " AND ".join(parts), [item for value in wanted.values() for item in (*prefix, normalize_text(_scalar(key, value)))]


def _scalar(key: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise GalleryError(f"where.{key}: expected text, a number, a list of these or a range", "where")
    if isinstance(value, str):
        return checked_text(value, "where")
    if not -(2**63) <= value < 2**63:  # so written that NaN fails, too
        raise GalleryError(f"where.{key}: {value} is out of range", "where")
    return value


def instant_of(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; one without an offset is UTC. None for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _moments(wanted: Any) -> Any:
    """What is wanted of a time as instants, so that offsets do not matter; None where it is no ISO 8601 time."""
    if isinstance(wanted, Mapping):
        instants = {name: instant_of(value) if isinstance(value, str) else None for name, value in wanted.items()}
        return None if None in instants.values() else instants
    return instant_of(wanted) if isinstance(wanted, str) else None


def checked_text(text: str, field: str) -> str:
    """The text, if a store can hold and find it. Raises GalleryError for NUL and for halves of surrogate pairs."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise GalleryError(f"{field}: holds a NUL or half a surrogate pair, which no text has", field)
    return text


def _json_path(key: str) -> str:
    if '"' in key or "\\" in key:
        raise GalleryError(f"where: no attribute can be called {key!r}", "where")
    return f'$."{checked_text(key, "where")}"'
