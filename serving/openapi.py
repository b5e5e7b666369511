"""The OpenAPI document, made from the table of operations and the schemas.

python -m trireid.serving.openapi > docs/openapi.json
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from trireid.samples import MODALITIES
from trireid.serving.operations import OPERATIONS, VERSION_PREFIX, Operation
from trireid.serving.schemas import ErrorAnswer, Form

VERSION: Final = "1"
_REF: Final = "#/components/schemas/{model}"
_STATUSES: Final = {
    400: "The request makes no sense, or an image is missing or damaged.",
    401: "A token is needed.",
    403: "The token's scopes do not reach this, or the server answers its own machine alone.",
    404: "No such gallery or image.",
    408: "The request took too long to arrive.",
    409: "The gallery is read-only.",
    413: "An image or the request is too large.",
    415: "Not an image, or not of a format that is read.",
    422: "A field's value does not fit, or the field is unknown.",
    429: "Too many requests with this token; see Retry-After.",
    503: "The server is busy, or cannot record the request; see Retry-After.",
    507: "The server's disk is full; nothing was changed.",
}
_EVERYWHERE: Final = (401, 403, 429)
_ABOUT: Final = (
    "Multi-modal re-identification: who or what is this, and where else was it seen? A sample is one to three images of one "
    "person or vehicle: visible light (rgb), near infrared (nir), thermal (tir). Every path is there with /v1 before it, too."
)


def document() -> dict[str, Any]:
    """The document, as `/openapi.json` gives it."""
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ErrorAnswer, "serialization")}
    for each in OPERATIONS:
        models |= {(form, "validation") for form in (each.form, each.body) if form}
        models |= {(each.answer, "serialization")} if each.answer else set()
    ordered = sorted(models, key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(ordered, ref_template=_REF)
    schemas = {name: _plain(schema) for name, schema in definitions["$defs"].items()}
    forms = [each.form for each in OPERATIONS if each.form]
    for form in forms:
        schemas[form.__name__]["properties"] = {**_images(), **schemas[form.__name__]["properties"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "trireid", "version": VERSION, "description": _ABOUT},
        # also behind a proxy with a prefix
        "servers": [{"url": "./"}, {"url": f".{VERSION_PREFIX}"}],
        "security": [{"token": []}, {}],
        "paths": {
            each.path: {method.lower(): _describe(each, method) for method in each.methods}
            for each in OPERATIONS
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    }


def _describe(operation: Operation, method: str) -> dict[str, Any]:
    name = operation.path.split("/")[1]
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}_{name}"
        + ("_one" if "{" in operation.path and operation.answer else ""),
        "summary": operation.summary,
        "description": f"Scope: {operation.scope or 'any token'}.",
        "responses": {
            "200": _answer(operation),
            **{str(status): _describe_error(status) for status in _statuses(operation)},
        },
    }
    parameters = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    if parameters:
        described["parameters"] = [_parameter(each) for each in parameters]
    body = operation.form or operation.body
    if body:
        media = "multipart/form-data" if operation.form else "application/json"
        described["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _reference(body)}},
        }
    return described


def _statuses(operation: Operation) -> list[int]:
    return sorted({*operation.errors, *_EVERYWHERE})


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {
            "description": "The image.",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        }
    about = (operation.answer.__doc__ or "").split("\n")[0]
    return {
        "description": about,
        "content": {"application/json": {"schema": _reference(operation.answer)}},
    }


def _describe_error(status: int) -> dict[str, Any]:
    return {
        "description": _STATUSES[status],
        "content": {"application/json": {"schema": _reference(ErrorAnswer)}},
    }


def _parameter(name: str) -> dict[str, Any]:
    examples = {"gallery": "people", "key": "17", "modality": "rgb"}
    about = {
        "gallery": "The gallery's name.",
        "key": "As in a hit's `images`.",
        "modality": "rgb, nir or tir.",
    }
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about[name],
        "schema": {"type": "string"},
        "example": examples[name],
    }


def _images() -> dict[str, Any]:
    words = {"rgb": "visible light", "nir": "near infrared", "tir": "thermal"}
    return {
        modality: {
            "type": "string",
            "format": "binary",
            "description": f"The image in {words[modality]}: JPEG, PNG, WebP, BMP or TIFF. One of the three at least.",
            "examples": [f"{modality}.jpg"],
        }
        for modality in MODALITIES
    }


def _reference(model: type[BaseModel] | type[Form]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the titles that pydantic makes of every name."""
    fields = {
        name: {key: value for key, value in each.items() if key != "title"}
        for name, each in schema.get("properties", {}).items()
    }
    return {**{key: value for key, value in schema.items() if key != "title"}, "properties": fields}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
