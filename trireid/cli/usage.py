"""A command line that is wrong, as one line."""

from __future__ import annotations

from typing import Any, Final

import typer

#: The sentence on a value, by pydantic's name of the error.
_SENTENCES: Final = {
    "int_parsing": "invalid int value: {input!r}",
    "float_parsing": "invalid float value: {input!r}",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "value_error": "{error}",
}


def describe_usage_error(error: typer.TyperException) -> str:
    """Describe an error of Typer in one line: the command, the option, and how to get help."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "trireid"
    return f"{path}: {_describe(error)} (see {path} --help)"


def _describe(error: Any) -> str:
    message = error.message.rstrip(".")
    if hasattr(error, "possibilities"):
        suggestion = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
        return f"unrecognized arguments: {error.option_name}{suggestion}"
    parameter = getattr(error, "param", None)
    if parameter is None:
        return str(message)
    name = "/".join(parameter.opts) if parameter.param_type_name == "option" else parameter.metavar
    if hasattr(error, "param_type"):
        return f"the following arguments are required: {name}"
    return f"argument {name}: {_describe_value(error.__cause__) or message}"


def _describe_value(cause: Any) -> str | None:
    """Describe a wrong value, if pydantic has a word for it."""
    if not hasattr(cause, "errors"):
        return None
    (first, *_) = cause.errors()
    sentence: str = _SENTENCES.get(first["type"], first["msg"])
    return sentence.format(input=first["input"], **first.get("ctx", {})).rstrip(".")
