"""Cells of CSV files that spreadsheets open: text never reads as a formula, and comes back exactly.

Text that begins with one of `= + - @`, a tab or a carriage return gets an apostrophe in front, as a
spreadsheet's user would write it; so does text that is blank, or begins or ends with white space, and an
attribute's text that looks like a number or true/false. Numbers stay as they are.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

_MARK: Final = "'"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_text(text: str) -> str:
    """Return the cell of a column of text."""
    return _MARK + text if _needs_mark(text) else text


def read_text(cell: str) -> str:
    """Return the text of a cell that `write_text` wrote, or of one written by hand without white space around it."""
    return cell[1:] if cell.startswith(_MARK) and _needs_mark(cell[1:]) else cell.strip()


def write_value(value: Any) -> str:
    """Return the cell of an attribute; of one that is neither text, number nor true/false its JSON."""
    if isinstance(value, str):
        return _MARK + value if _needs_mark(value) or _looks_typed(value) else value
    return write_text(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | dict) else json.dumps(value)


def read_value(cell: str) -> Any:
    """Return an attribute's value: a number or true/false if the cell is written as one, else text."""
    if cell.startswith(_MARK) and (_needs_mark(cell[1:]) or _looks_typed(cell[1:])):
        return cell[1:]
    return _typed(cell.strip())


def _needs_mark(text: str) -> bool:
    core = text.lstrip(_MARK)
    return core.startswith(_FORMULA) or core != core.strip() or not core


def _looks_typed(text: str) -> bool:
    return not isinstance(_typed(text.lstrip(_MARK)), str)


def _typed(text: str) -> Any:
    try:
        value = json.loads(text)
        is_plain = isinstance(value, bool | int | float) and math.isfinite(value)
        return value if is_plain and str(value).lower() == text.lower() else text
    except (ValueError, RecursionError, OverflowError):  # OverflowError: a whole number of hundreds of digits
        return text
