"""Cells of CSV files that spreadsheets open: text never reads as a formula, and comes back exactly.

Text that begins with one of `= + - @`, also in wide letters, a tab or a carriage return gets an
apostrophe in front, as a spreadsheet's user would write it; so does text that is blank or a word
for it (`NA`, `None`), that begins or ends with white space or is a whole number with `.0`, and an
attribute's text that looks like a number or true/false. Numbers stay as they are.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

_MARK: Final = "'"
#: Words for a blank cell, of pandas, R, SQL and people. "Na" is not among them: it is a
#: name.
_BLANK_WORDS: Final = frozenset((
    "", "NA", "N/A", "n/a", "NaN", "nan", "None", "none", "NULL", "Null", "null", "<NA>", "NaT",
    "#N/A", "#NV", "#N/D", "-", "--",
))  # fmt: skip
#: Errors of formulas, in the languages of spreadsheets: `#REF!`, `#BEZUG!`, `#NOM?`, `#DIV/0!`.
_FORMULA_ERROR: Final = re.compile(r"#[^\W\d_]+(?:/0)?[!?]")
#: A number too long for a spreadsheet's column, or for pandas' floats: its last digits are lost.
_SHORTENED: Final = re.compile(r"\d[.,]\d+E\+\d+", re.ASCII | re.IGNORECASE)
#: The wide ones are what East Asian keyboards type, and some spreadsheets take for the others.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def is_blank(cell: Any) -> bool:
    """Return whether a cell of a field holds nothing, or a word for it."""
    if isinstance(cell, str):
        return cell.strip() in _BLANK_WORDS
    return (
        cell is None
        or (isinstance(cell, float) and math.isnan(cell))
        or str(cell) in ("NaT", "<NA>")
    )


def describe_damage(cell: str) -> str | None:
    """Return how a spreadsheet spoiled the cell of a field, or None."""
    if _FORMULA_ERROR.fullmatch(cell.strip()):
        return "is an error of a spreadsheet's formula; correct it there, or clear the cell"
    if _SHORTENED.fullmatch(cell.strip()):
        return (
            "lost its last digits in a spreadsheet; save the column as text (or put an apostrophe"
            " in front)"
        )
    return None


def write_text(text: str) -> str:
    """Return the cell of a column of text."""
    return _MARK + text if _needs_mark(text) else text


def read_text(cell: str) -> str:
    """Return the text of a cell that `write_text` wrote, or of one written by hand without white
    space around it.
    """
    return cell[1:] if cell.startswith(_MARK) and _needs_mark(cell[1:]) else cell.strip()


def write_value(value: Any) -> str:
    """Return an attribute's cell: text, number, true/false as they are, others as JSON."""
    if isinstance(value, str):
        return _MARK + value if _needs_mark(value) or _looks_typed(value) else value
    return (
        write_text(json.dumps(value, ensure_ascii=False))
        if isinstance(value, list | dict)
        else json.dumps(value)
    )


def read_value(cell: str) -> Any:
    """Return an attribute's value: a number or true/false if written as one, else text."""
    if cell.startswith(_MARK) and (_needs_mark(cell[1:]) or _looks_typed(cell[1:])):
        return cell[1:]
    return _parse_value(cell.strip())


def _needs_mark(text: str) -> bool:
    core = text.lstrip(_MARK)
    return (
        core.startswith(_FORMULA)
        or core != core.strip()
        or core in _BLANK_WORDS
        or _is_whole(core)
        or describe_damage(core) is not None
    )


def _is_whole(text: str) -> bool:
    return text.endswith(".0") and text[:-2].isdecimal()


def _looks_typed(text: str) -> bool:
    return not isinstance(_parse_value(text.lstrip(_MARK)), str)


def _parse_value(text: str) -> Any:
    try:
        value = json.loads(text)
        is_plain = isinstance(value, bool | int | float) and math.isfinite(value)
        return value if is_plain and str(value).lower() == text.lower() else text
    except (
        ValueError,
        RecursionError,
        OverflowError,
    ):  # OverflowError: a whole number of hundreds of digits
        return text
