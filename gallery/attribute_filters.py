"""Conditions on attributes, which are values of JSON: text and number are alike if one is written
as the other.

`3`, `3.0`, `"3"` and `"3.0"` are alike, and so are `true` and `"true"`; `"03"` is text alone, and
`1` is not `true`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from trireid.samples.text import list_forms

Scalar = str | int | float | bool
_VALUE: Final = "json_extract(attributes, ?)"
_TYPE: Final = "json_type(attributes, ?)"
#: A number, and text that is written as SQLite writes one.
_NUMBER: Final = (
    f"CASE WHEN {_TYPE} IN ('integer', 'real') THEN {_VALUE} WHEN {_TYPE} = 'text'"
    f" AND {_VALUE} IN (CAST(CAST({_VALUE} AS NUMERIC) AS TEXT), CAST(CAST({_VALUE} AS REAL) AS"
    " TEXT))"
    f" THEN CAST({_VALUE} AS NUMERIC) END"
)
_TEXT: Final = f"CASE WHEN {_TYPE} = 'text' THEN {_VALUE} END"


def equals(path: str, values: Sequence[Scalar]) -> tuple[str, list[Any]]:
    """Return the condition that the attribute at a path of JSON is like one of some values, and its
    parameters.
    """
    forms = [form for value in values for form in _forms(value)]
    plain = [form for form in forms if not isinstance(form, bool)]
    kinds = [json.dumps(form) for form in forms if isinstance(form, bool)]
    one_of = "IN (SELECT value FROM json_each(?))"
    text = f"{_VALUE} {one_of} AND {_TYPE} NOT IN ('true', 'false')"
    if not kinds:
        return text, [path, json.dumps(plain), path]
    return f"{text} OR {_TYPE} {one_of}", [path, json.dumps(plain), path, path, json.dumps(kinds)]


def ranges(
    path: str, bounds: Sequence[tuple[str, str | int | float | bool]]
) -> tuple[str, list[Any]]:
    """Return the condition that the attribute at a path of JSON compares so with each bound, and
    its parameters.

    A number, or text that is written as one, is compared with numbers; other text with text.
    """
    parts, values = [], []
    for operator, bound in bounds:
        is_number = not isinstance(bound, str) or is_plain_number(bound)
        column = _NUMBER if is_number else _TEXT
        parts.append(f"{column} {operator} ?")
        values += [path] * column.count("?") + [
            as_number(bound) if isinstance(bound, str) and is_number else bound
        ]
    return " AND ".join(parts), values


def is_plain_number(text: str) -> bool:
    """Return whether a text is written as a number that SQLite holds is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return str(value) == text and -(2**63) <= value < 2**63


def as_number(text: str) -> int | float:
    """Return the number that a plain number is written for."""
    value = json.loads(text)
    number: int | float = int(value) if value == int(value) else value
    return number


def _forms(value: Scalar) -> list[Scalar]:
    """A value in every form that is like it."""
    if (
        isinstance(value, str)
        and value.lower() in ("true", "false")
        and value in (value.lower(), value.title())
    ):
        value = value.lower() == "true"
    if isinstance(value, bool):
        return [value, str(value).lower(), str(value)]
    if isinstance(value, str) and not is_plain_number(value):
        return [*list_forms(value)]
    number = as_number(value) if isinstance(value, str) else value
    texts = [str(number)] if number != int(number) else [str(int(number)), f"{int(number)}.0"]
    return [number, *texts]
