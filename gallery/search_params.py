"""The options of a search: one type for Python, HTTP, the command line and the client.

A new option is a field here, and the code in `trireid.gallery.searching` that acts on it: the
form of `POST /search`, OpenAPI, `trireid search --help` and `Client.search` follow from the field.
This module needs pydantic alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from trireid.samples.bounds import MAX_K
from trireid.samples.distinct_json import parse_distinct
from trireid.samples.errors import GalleryValueError, TrireidError
from trireid.samples.validation import did_you_mean, explain, first_error

_OBJECT: Final = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": {"type": "object", "additionalProperties": True},
}


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a whole number from 1 to {MAX_K}, not {value}")
    return value


def _read_object(value: Any) -> Any:
    """Take an object, or read one from its JSON."""
    if isinstance(value, str):
        try:
            value = parse_distinct(value)
        except TrireidError:
            raise
        except (ValueError, RecursionError) as error:
            raise ValueError("not JSON that can be read") from error
    if value is not None and not isinstance(value, Mapping):
        raise ValueError('must be an object, as in {"camera": [1, 2]}')
    return value


class SearchParams(BaseModel, frozen=True, extra="forbid"):
    """The options of a search; all have defaults.

    `where` names fields and attributes with a value, a list of values, a range such as
    `{"gte": 3}`, or None for items that have none; several must all hold. Each option may also be
    given as text, `where` as JSON.

    Raises:
        GalleryValueError: An option is unknown or out of bounds; `field` names it.
    """

    k: Annotated[int, BeforeValidator(_refuse_boolean)] = Field(
        default=10, ge=1, le=MAX_K, description="How many hits.", examples=[10]
    )
    where: Annotated[
        Mapping[str, Any] | None,
        PlainValidator(_read_object),
        WithJsonSchema({"anyOf": [_OBJECT, {"type": "null"}]}),
    ] = Field(
        default=None,
        description="A filter, in JSON: on camera, kind, time, identity or any attribute.",
        examples=['{"camera": [1, 2]}'],
    )
    other_cameras: bool = Field(
        default=False, description="Leave out the query's own camera.", examples=[True]
    )
    rerank: bool = Field(
        default=False,
        description="Order the 200 best by k-reciprocal re-ranking.",
        examples=[False],
    )
    by_identity: bool = Field(
        default=False, description="The best hit of each identity.", examples=[False]
    )
    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="Leave out hits that score less.", examples=[0.5]
    )

    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _refuse(type(self), error) from error

        # pydantic validates forms without calling it, so that they name the field in their own way
        __init__.__pydantic_base_init__ = True

    @classmethod
    def merge(cls, params: SearchParams | None, options: Mapping[str, Any]) -> Self:
        """Return these parameters with single options in place of theirs.

        Args:
            params: Parameters to begin with; None: the defaults.
            options: Options by name, as given in Python or as text.

        Raises:
            GalleryValueError: As the constructor.
        """
        if params is not None and not isinstance(params, SearchParams):
            raise GalleryValueError(
                f"params: must be SearchParams, not {type(params).__name__};"
                " give single options by name, as in k=10",
                "params",
            )
        given = {} if params is None else {name: getattr(params, name) for name in OPTIONS}
        return cls(**{**given, **options})

    def to_texts(self) -> dict[str, str]:
        """Return the options that differ from their defaults as text: fields of a form.

        Raises:
            GalleryValueError: `where` cannot be written as JSON.
        """
        texts = {}
        for name, field in SearchParams.model_fields.items():
            value = getattr(self, name)
            if value != field.default:
                texts[name] = value if isinstance(value, str) else _write(name, value)
        return texts


#: The names of the options.
OPTIONS: Final = tuple(SearchParams.model_fields)


def _write(name: str, value: Any) -> str:
    try:
        return json.dumps(dict(value) if isinstance(value, Mapping) else value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryValueError(f"{name}: cannot be written as JSON: {error}", name) from error


def _refuse(model: type[BaseModel], error: ValidationError) -> GalleryValueError:
    field, kind, _ = first_error(error)
    if kind == "extra_forbidden" and field is not None:
        hint = did_you_mean(field, model.model_fields)
        options = ", ".join(model.model_fields)
        return GalleryValueError(
            f"{field}: is not an option of a search{hint}; options: {options}", field
        )
    return GalleryValueError(explain(model, error), field)
