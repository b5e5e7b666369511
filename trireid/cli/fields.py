"""Options from the fields of a type: a dataclass of options, or a model of pydantic.

A dataclass describes each option by `Annotated[type, typer.Option(...)]`. A model needs no word on
the command line: its fields' names, descriptions, bounds, defaults and environment variables are
the options, and it checks their values, so that a new field is an option at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from trireid.samples.errors import TrireidError


def has_fields(annotation: Any) -> bool:
    """Whether a parameter with this annotation stands for several options."""
    type_, _ = _split(annotation)
    return isinstance(type_, type) and (is_dataclass(type_) or hasattr(type_, "model_fields"))


def list_options(annotation: Any) -> Iterator[inspect.Parameter]:
    """Yield an option for each field, as a parameter of a function."""
    type_, _ = _split(annotation)
    if hasattr(type_, "model_fields"):
        prefix = type_.model_config.get("env_prefix")
        for name, field in _model_fields(type_).items():
            yield _make_option(name, field, prefix)
        return
    hints = get_type_hints(type_, include_extras=True)
    for each in fields(type_):
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        yield _make_parameter(each.name, hints[each.name], default)


def build_value(annotation: Any, given: dict[str, Any]) -> Any:
    """Take the values of a type's options from those that are given, and build the type.

    Args:
        annotation: The type, or `Annotated[type, function]` with the function that builds it.
        given: The values by name; those of the type are removed.

    Raises:
        TrireidError: The type refuses a value; the message begins with the option.
    """
    type_, build = _split(annotation)
    if not hasattr(type_, "model_fields"):
        return type_(**{each.name: given.pop(each.name) for each in fields(type_)})
    options = {name: given.pop(name) for name in _model_fields(type_)}
    try:
        return build(**{name: value for name, value in options.items() if value is not None})
    except TrireidError as error:
        name = str(error.field)
        if name in options:
            error.message = name_option(name) + error.message.removeprefix(name)
        raise


def name_option(field: str) -> str:
    """Return the option of a field: `-k`, `--min-score`."""
    return f"-{field}" if len(field) == 1 else f"--{field.replace('_', '-')}"


def _split(annotation: Any) -> tuple[Any, Any]:
    """A type, and what builds it."""
    if get_origin(annotation) is Annotated:
        type_, build = get_args(annotation)[:2]
        return type_, build
    return annotation, annotation


def _model_fields(type_: Any) -> dict[str, Any]:
    """The fields that are options: a secret is not, for other users see a command's options."""
    from pydantic import SecretStr

    every = type_.model_fields.items()
    return {name: field for name, field in every if SecretStr not in get_args(field.annotation)}


def _make_option(name: str, field: Any, prefix: str | None) -> inspect.Parameter:
    """Make an option that takes the text of a value, a flag, or arguments for several values."""
    help_ = str(field.description).rstrip(".")
    if help_.split()[0].istitle():  # a sentence, not MiB
        help_ = help_[:1].lower() + help_[1:]
    help_ += _describe(name, field, prefix)
    if field.annotation is bool:
        option = typer.Option(name_option(name), help=help_)
        return _make_parameter(name, Annotated[bool | None, option], None)
    if get_origin(field.annotation) is tuple:
        argument = typer.Argument(metavar=name.upper(), help=help_)
        return _make_parameter(name, Annotated[list[str] | None, argument], None)
    is_count = int in (field.annotation, *get_args(field.annotation))
    metavar = "N" if is_count else name.rpartition("_")[2].upper()
    option = typer.Option(name_option(name), metavar=metavar, help=help_)
    return _make_parameter(name, Annotated[str | None, option], None)


def _describe(name: str, field: Any, prefix: str | None) -> str:
    """The bounds, an example, the default and the variable of a field, in parentheses."""
    from trireid.samples.validation import describe_rule

    notes = [] if field.annotation is bool else [describe_rule(field)]
    if notes == [None] and field.examples:
        notes = [f"as in {field.examples[0]}"]
    if field.default not in (None, "", (), False):
        notes.append(f"default: {field.default}")
    if prefix is not None:
        notes.append(prefix + name.upper())
    text = "; ".join(filter(None, notes))
    return f" ({text})" if text else ""


def _make_parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
