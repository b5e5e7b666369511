"""Filters: conditions of the store on the fields and attributes of items.

`{"camera": 3}` equal · `{"camera": [1, 2]}` one of · `{"time": {"gte": "...", "lt": "..."}}` a
range · any attribute by name. Several keys must all hold. Times in ISO 8601 are compared as
moments, whatever their offset (UTC where there is none); other times can only be equal. Text and
number are alike: `"3"` and `3` find either. Text is asked for in Unicode NFC, as it is stored, and
in the other forms that older stores may hold. A value that no item can have is refused by name.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import Any, Final

from trireid.gallery.attribute_filters import as_number, equals, is_plain_number, ranges
from trireid.samples import KINDS, Kind
from trireid.samples.errors import GalleryError, GalleryValueError
from trireid.samples.metadata import METADATA
from trireid.samples.sample import FIELDS
from trireid.samples.text import list_forms, normalize_text

#: The columns of an item that can be filtered by.
COLUMNS: Final = ("id", *(name for name in METADATA if name != "attributes"))
MAX_KEYS: Final = 64
COMPARISONS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
#: The columns that hold times as instants.
_INSTANTS: Final = {"time": "instant", "expires": "expiry"}
#: How many names of attributes an error lists, how much of each it shows, and how many are compared
#: with a wrong one.
_LISTED, _SHOWN, _COMPARED = 20, 60, 1000
Condition = tuple[str, list[Any]]
#: Holds for the items that expired up to a time, in seconds since 1970: retention removes them, and
#: no search finds them.
EXPIRED: Final = "expiry <= ?"


@dataclass(frozen=True)
class Filter:
    """A filter that was understood.

    `condition`: over `items`; `attributes`: the names of those it asks for; `passes_absent`:
    whether items that lack one of them may pass.
    """

    condition: Condition
    attributes: tuple[str, ...] = ()
    passes_absent: bool = False


def parse_filter(where: Mapping[str, Any], kind: Kind | None = None) -> Filter:
    """Understand a filter.

    Args:
        where: Fields and attributes by name: a value, a list of values, a range, or None for items
            that have none.
        kind: The kind of items without one of their own.

    Returns:
        The filter. Whether its attributes exist is for `check_attributes` to say.

    Raises:
        GalleryError: A key or value means nothing or cannot be; code `invalid`, and the message
            names it.
    """
    if not isinstance(where, Mapping):
        raise GalleryValueError('where must be an object, as in {"camera": [1, 2]}', "where")
    if len(where) > MAX_KEYS:
        raise GalleryValueError(f"where: {MAX_KEYS} keys at most, not {len(where)}", "where")
    parts = [
        _field(key, wanted, kind) if key in COLUMNS else _attribute(key, wanted)
        for key, wanted in where.items()
    ]
    text = " AND ".join(f"({part})" for part, _ in parts) or "1"
    attributes = tuple(key for key in where if key not in COLUMNS)
    return Filter(
        (text, [value for _, values in parts for value in values]),
        attributes,
        any(where[key] is None for key in attributes),
    )


def condition(where: Mapping[str, Any]) -> Condition:
    """Return a filter on fields as an SQL condition over `items` and its parameters.

    Raises as `parse_filter` does.
    """
    return parse_filter(where).condition


def check_attributes(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise GalleryError for an attribute that no item has, with the names that there are."""
    names = sorted({normalize_text(name) for name in known})
    for key in map(normalize_text, asked):
        if key not in names:
            listed = ", ".join(name[:_SHOWN] for name in names[:_LISTED]) or "none"
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            hint = _did_you_mean(key, (*COLUMNS, *names))
            raise _invalid(
                key,
                f"no item has an attribute of this name{hint}; fields: {', '.join(COLUMNS)};"
                f" attributes: {listed}{more}",
            )


def _did_you_mean(given: str, known: Sequence[str]) -> str:
    if len(given) > _SHOWN:
        return ""
    plain = {name.lower(): name for name in known[:_COMPARED]}
    near = difflib.get_close_matches(given.lower(), plain, n=1)
    return f"; did you mean {plain[near[0]][:_SHOWN]}?" if near else ""


def _field(key: str, wanted: Any, kind: Kind | None) -> Condition:
    if wanted is None:
        return ("coalesce(kind, ?) IS NULL", [kind]) if key == "kind" else (f"{key} IS NULL", [])
    if isinstance(wanted, Mapping):
        return _field_range(key, wanted)
    values = [_field_value(key, value) for value in _as_list(wanted)]
    if key in _INSTANTS:
        instants = [instant for value in values if (instant := parse_instant(value)) is not None]
        texts = [
            form for value in values if parse_instant(value) is None for form in list_forms(value)
        ]
        parts = [
            (column, some) for column, some in ((_INSTANTS[key], instants), (key, texts)) if some
        ]
        text = " OR ".join(f"{column} IN (SELECT value FROM json_each(?))" for column, _ in parts)
        return text or "0", [json.dumps(some) for _, some in parts]
    column, prefix = ("coalesce(kind, ?)", [kind]) if key == "kind" else (key, [])
    values = [
        form
        for value in values
        for form in (list_forms(value) if isinstance(value, str) else [value])
    ]
    if len(values) == 1:
        return f"{column} = ?", [*prefix, values[0]]
    return f"{column} IN (SELECT value FROM json_each(?))", [*prefix, json.dumps(values)]


def _field_range(key: str, wanted: Mapping[str, Any]) -> Condition:
    _check_range(key, wanted)
    if key == "kind":
        raise _invalid(key, f"has no range; kinds are {', '.join(KINDS)}")
    bounds = [_read_bound(key, value) for value in wanted.values()]
    column = _INSTANTS.get(key, key)
    return " AND ".join(f"{column} {COMPARISONS[name]} ?" for name in wanted), bounds


def _read_bound(key: str, value: Any) -> Any:
    """A range's end, as the column of a field holds it."""
    if key == "camera":
        return _number(key, value, "cameras are whole numbers")
    text = _field_value(key, value)
    if key not in _INSTANTS:
        return normalize_text(text)
    if (instant := parse_instant(text)) is None:
        raise _invalid(key, f"{_show(value)} is not an ISO 8601 time, as in 2026-01-31T12:00:00Z")
    return instant


def _field_value(key: str, value: Any) -> Any:
    """A value of a field, as its column holds it."""
    value = _scalar(key, value)
    if key == "camera":
        number = _number(key, value, "cameras are whole numbers")
        if number != int(number):
            raise _invalid(key, f"{_show(value)} is not a camera; cameras are whole numbers")
        return int(number)
    if isinstance(value, bool):
        raise _invalid(key, f"{_show(value)} cannot be an item's {key}; give text or a number")
    if key == "kind" and value not in KINDS:
        raise _invalid(
            key,
            f"{_show(value)} is not a kind; kinds are"
            f" {', '.join(KINDS)}{_did_you_mean(str(value), KINDS)}",
        )
    if key in _INSTANTS and not isinstance(value, str):
        raise _invalid(key, f"{_show(value)} is not an ISO 8601 time, as in 2026-01-31T12:00:00Z")
    if key == "expires" and parse_instant(value) is None:
        raise _invalid(key, f"{_show(value)} is not an ISO 8601 time, as in 2027-01-31T12:00:00Z")
    return value if isinstance(value, str) else str(int(value) if value == int(value) else value)


def _number(key: str, value: Any, rule: str) -> int | float:
    value = _scalar(key, value)
    if isinstance(value, str) and is_plain_number(value):
        value = as_number(value)
    if isinstance(value, bool | str):
        raise _invalid(key, f"{_show(value)} is not a {key}; {rule}")
    number: int | float = value
    return number


def _attribute(key: str, wanted: Any) -> Condition:
    paths = [_json_path(form) for form in (list_forms(key) if isinstance(key, str) else [key])]
    if wanted is None:
        return " AND ".join("json_extract(attributes, ?) IS NULL" for _ in paths), [*paths]
    if isinstance(wanted, Mapping):
        _check_range(key, wanted)
        bounds = [
            (COMPARISONS[name], normalize_text(_scalar(key, value)))
            for name, value in wanted.items()
        ]
        if any(isinstance(value, bool) for _, value in bounds):
            raise _invalid(
                key, "a range goes from a number or text to another, and true and false are neither"
            )
        parts = [ranges(path, bounds) for path in paths]
    else:
        values = [_scalar(key, value) for value in _as_list(wanted)]
        parts = [equals(path, values) for path in paths]
    return " OR ".join(f"({text})" for text, _ in parts), [
        value for _, values in parts for value in values
    ]


def _as_list(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _check_range(key: str, wanted: Mapping[str, Any]) -> None:
    unknown = [str(name)[:_SHOWN] for name in wanted if name not in COMPARISONS]
    if unknown or not wanted:
        raise _invalid(
            key, f"a range takes {', '.join(COMPARISONS)}, not {', '.join(unknown) or 'nothing'}"
        )


def _scalar(key: str, value: Any) -> str | int | float | bool:
    if isinstance(value, Real) and not isinstance(value, bool | int | float):  # of numpy
        value = int(value) if isinstance(value, Integral) else float(value)
    if not isinstance(value, str | int | float | bool):
        raise _invalid(key, "expected text, a number, true or false, a list of these or a range")
    if isinstance(value, str):
        return check_text(value, "where")
    if not -(2**63) <= value < 2**63:  # so written that NaN fails, too
        raise _invalid(key, f"{value} is out of range")
    return value


def _invalid(key: str, message: str) -> GalleryError:
    return GalleryValueError(f"where.{str(key)[:_SHOWN]}: {message}", "where")


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:_SHOWN]


def parse_instant(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; one without an offset is UTC.

    None for anything else.
    """
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_text(text: str, field: str) -> str:
    """The text, if a store can hold and find it.

    Raises GalleryError for NUL and for halves of surrogate pairs.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise GalleryError(
            f"{field}: holds a NUL or half a surrogate pair, which no text has", field
        )
    return text


def _json_path(key: str) -> str:
    if not isinstance(key, str) or '"' in key or "\\" in key:
        raise GalleryValueError(f"where: no attribute can be called {str(key)[:_SHOWN]!r}", "where")
    if key in FIELDS:
        raise _invalid(
            key,
            f"is not a field to filter by; fields: {', '.join(COLUMNS)}; attributes go by their"
            " own names",
        )
    return f'$."{check_text(key, "where")}"'
