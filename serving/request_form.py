"""The fields and images of a request, read within bounds and named where they cannot be used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from trireid.samples import MODALITIES
from trireid.samples.distinct_json import parse_distinct
from trireid.samples.errors import (
    ImageError,
    InvalidValueError,
    MediaTypeError,
    MissingImageError,
    TrireidError,
)
from trireid.samples.readers.modality_names import find_modality
from trireid.samples.validation import did_you_mean, explain, first_error
from trireid.serving.gallery_service import Images
from trireid.serving.schemas import Form

#: Bytes of a JSON body, and of one text field of a form.
MAX_JSON_BYTES: Final = 1 << 20
MAX_TEXT_BYTES: Final = 64 << 10
_MAX_FILES, _MAX_FIELDS = 8, 32
#: Other encodings of text are not used by forms, and some take time that grows with the square of
#: its length.
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii", "ascii")

Fields = TypeVar("Fields", bound=Form)


def media_type(request: Request) -> str:
    """The media type of a request's body, in lower case."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Read a multipart form; its files are there while the block runs.

    Raises:
        ImageError: for another media type, which cannot hold an image.
        TrireidError: for a charset other than UTF-8 (415 over HTTP).
        HTTPException: for a form that is malformed or over a limit.
    """
    if media_type(request) != "multipart/form-data":
        raise _no_image()
    # Read by the parser that the form is read with: a second one could be told another charset.
    charset = (
        parse_options_header(request.headers["content-type"])[1]
        .get(b"charset", b"utf-8")
        .decode("latin-1")
        .lower()
    )
    if charset not in _CHARSETS:
        raise MediaTypeError(f"the form's charset must be utf-8, not {charset[:40]}", "body")
    async with request.form(
        max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=MAX_TEXT_BYTES
    ) as form:
        yield form


def read_texts(form: FormData, known: Container[str]) -> dict[str, str]:
    """Read the fields that are not images; empty ones are left out.

    Raises TrireidError for one that comes twice, or as a file.
    """
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name in MODALITIES or _is_unset(value):
            continue
        if not isinstance(value, str):
            if name in known:
                raise TrireidError(f"{name}: is a field for text, not for a file", name)
            raise unknown_field(
                name, MODALITIES, f"an image; images are sent as {', '.join(MODALITIES)}"
            )
        if name in texts:
            raise TrireidError(f"{name}: was sent twice", name)
        texts[name] = value
    return {name: value for name, value in texts.items() if value != ""}


def read_images(form: FormData) -> Images:
    """Find the images, not read yet.

    Raises ImageError without an image, and if one comes twice or as text.
    """
    images: dict[Any, Any] = {}
    for modality in MODALITIES:
        given = [value for value in form.getlist(modality) if value != "" and not _is_unset(value)]
        if len(given) > 1:
            raise ImageError(f"{modality}: was sent twice", modality)
        if given:
            if not isinstance(given[0], UploadFile):
                raise ImageError(f"{modality}: send the image itself, as a file", modality)
            images[modality] = given[0].file
    if not images:
        raise _no_image()
    return images


def _no_image() -> ImageError:
    names = ", ".join(MODALITIES)
    message = f"no image: send at least one of {names} as a file of a form (multipart/form-data)"
    return MissingImageError(message, "rgb")


def _is_unset(value: object) -> bool:
    """Whether this is a file field without a file, as browsers send it."""
    return isinstance(value, UploadFile) and not value.filename and not value.size


def validate(form_type: type[Fields], values: dict[str, Any]) -> Fields:
    """Validate fields. Raises TrireidError (code `invalid`), naming the first that does not fit."""
    try:
        return form_type.model_validate(values)
    except ValidationError as error:
        raise _describe(form_type, error) from error


def validate_json(form_type: type[Fields], body: bytes) -> Fields:
    """Parse and validate a JSON object.

    Raises TrireidError as `validate` does, and for what is not one.
    """
    try:
        values = parse_distinct(body)
    except TrireidError as error:
        raise TrireidError(f"the body: {error.message}", "body") from error
    except (ValueError, RecursionError) as error:
        raise TrireidError("the body is not JSON that can be read", "body") from error
    if not isinstance(values, dict):
        raise TrireidError("the body must be a JSON object", "body")
    return validate(form_type, values)


#: Names of other services for a field, which letters alone do not tell.
_SYNONYMS: Final[dict[str, str]] = {
    **dict.fromkeys(("topk", "top_k", "limit", "size"), "k"),
    **dict.fromkeys(("filter", "filters"), "where"),
    **dict.fromkeys(("pid", "person_id", "vehicle_id", "label"), "identity"),
}


def unknown_field(name: str, known: Iterable[str], found: str = "a field") -> TrireidError:
    """Create the error for a field that is not read, with the name that was probably meant."""
    names = list(known)
    meant = find_modality(name) or _SYNONYMS.get(name.lower())
    hint = f"; did you mean {meant}?" if meant in names else did_you_mean(name, names)
    return InvalidValueError(f"{name[:100]}: is not read as {found}{hint}", name[:100])


def _describe(form_type: type[Form], error: ValidationError) -> TrireidError:
    field, kind, _ = first_error(error)
    if kind == "extra_forbidden" and field is not None:
        return unknown_field(field, [*form_type.model_fields, *MODALITIES])
    return InvalidValueError(explain(form_type, error), field)
