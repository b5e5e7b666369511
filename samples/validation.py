"""Values that pydantic refuses, as one line that names the field, the value and the rule."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_NOUNS: Final[dict[Any, str]] = {int: "a whole number", float: "a number", bool: "true or false"}
_SHOWN: Final = 40


def first_error(error: ValidationError) -> tuple[str | None, str, Any]:
    """Return the field of the first error (None: the values as a whole), its type and its input."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0])[:100] if first["loc"] else None
    return field, first["type"], first["input"]


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first error in one line: the field, the rule that it breaks, and the value.

    Args:
        model: The model that refused the values.
        error: The error that it raised.
    """
    field, kind, value = first_error(error)
    message = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
    message = message.removeprefix("Value error, ")
    if field is None:
        return message
    rule = describe_rule(model.model_fields[field]) if field in model.model_fields else None
    if rule is None or kind == "value_error":
        return f"{field}: {message}"
    shown = f", not {value[:_SHOWN] if isinstance(value, str) else value}"
    return f"{field}: must be {rule}{shown if isinstance(value, str | int | float) else ''}"


def describe_rule(field: FieldInfo) -> str | None:
    """Return the values that a field takes, as in `a whole number from 1 to 1000`; None for others
    than numbers and booleans.
    """
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    kind: Any = kinds[0] if len(kinds) == 1 else field.annotation
    noun = _NOUNS.get(kind)
    least, most = _find_limit(field, "ge"), _find_limit(field, "le")
    if noun is None or least is None or most is None:
        return noun
    return f"{noun} from {least} to {most}"


def _find_limit(field: FieldInfo, name: str) -> Any:
    bounds = (getattr(each, name, None) for each in field.metadata)
    return next((bound for bound in bounds if bound is not None), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, or nothing."""
    near = difflib.get_close_matches(name[:100].lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
