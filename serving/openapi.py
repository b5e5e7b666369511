"""The OpenAPI document, made from the routes and the schemas.

python -m trireid.serving.openapi > docs/openapi.json
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from trireid.samples import MODALITIES
from trireid.serving.routes import VERSION_PREFIX, router
from trireid.serving.schemas import EmbedForm, EnrollForm, RemoveForm, SearchForm

VERSION: Final = "1"
_ABOUT: Final = (
    "Multi-modal re-identification: who or what is this, and where else was it seen? A sample is"
    " one to three images of one person or vehicle: visible light (rgb), near infrared (nir),"
    " thermal (tir). Every path is there with /v1 before it, too."
)


def document() -> dict[str, Any]:
    """The document, as `/openapi.json` gives it."""
    # also behind a proxy with a prefix
    servers: list[Any] = [{"url": "./"}, {"url": f".{VERSION_PREFIX}"}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one operation id for several methods
        described = get_openapi(
            title="trireid",
            version=VERSION,
            description=_ABOUT,
            routes=router.routes,
            servers=servers,
        )
    for path, operations in described["paths"].items():
        operations.pop("head", None)
        for method, each in operations.items():
            one = "_one" if path.endswith("{gallery}") else ""
            each["operationId"] = f"{method}_{path.split('/')[1]}{one}"
    schemas = described["components"]["schemas"] | _describe_forms()
    described["components"]["schemas"] = {name: _plain(schemas[name]) for name in sorted(schemas)}
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"token": []}, {}]
    return described


def _describe_forms() -> dict[str, Any]:
    """The schemas of bodies, which our own bounded parser reads, not FastAPI's."""
    forms = (EmbedForm, EnrollForm, RemoveForm, SearchForm)
    _, definitions = models_json_schema(
        [(form, "validation") for form in forms], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = definitions["$defs"]
    for form in (EmbedForm, EnrollForm, SearchForm):
        schema = schemas[form.__name__]
        schema["properties"] = _images() | schema["properties"]
    return schemas


def _images() -> dict[str, Any]:
    words = {"rgb": "visible light", "nir": "near infrared", "tir": "thermal"}
    return {
        modality: {
            "type": "string",
            "format": "binary",
            "description": f"The image in {words[modality]}: JPEG, PNG, WebP, BMP or TIFF. One of"
            " the three at least.",
            "examples": [f"{modality}.jpg"],
        }
        for modality in MODALITIES
    }


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
