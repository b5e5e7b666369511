"""The OpenAPI document: committed, served, complete."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.serving.conftest import Server
from tests.serving.test_service import files
from trireid.samples import MODALITIES
from trireid.serving.openapi import document


def test_the_committed_document_is_the_one_that_is_served(server: Server) -> None:
    """Made again by `python -m trireid.serving.openapi > docs/openapi.json`."""
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert committed == json.loads(json.dumps(document()))
    assert committed == server.client.get("/openapi.json").json()


def test_every_field_is_described_with_an_example() -> None:
    for name, schema in document()["components"]["schemas"].items():
        for field, about in schema["properties"].items():
            if "$ref" not in about:  # what is referred to is described there
                assert about.get("description"), (name, field)
                assert "examples" in about or "$ref" in about["items"], (name, field)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document()["components"]["schemas"][schema["$ref"].split("/")[-1]]
    return found


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("POST", "/search", {"files": files(5), "data": {"gallery": "people"}}),
        ("POST", "/embed", {"files": files(5)}),
        ("GET", "/galleries", {}),
        ("GET", "/galleries/people", {}),
        ("GET", "/whoami", {}),
        ("POST", "/remove", {"json": {"gallery": "people", "ids": ["nobody"]}}),
    ],
)
def test_answers_have_the_fields_that_are_described(
    server: Server, method: str, path: str, request_: dict[str, Any]
) -> None:
    described = document()["paths"]["/galleries/{gallery}" if path.endswith("people") else path][
        method.lower()
    ]
    answer: httpx.Response = server.client.request(method, path, **request_)
    assert answer.status_code == 200
    schema = resolve(described["responses"]["200"]["content"]["application/json"]["schema"])
    assert set(answer.json()) == set(schema["properties"])


def test_forms_take_the_images(server: Server) -> None:
    form = resolve(
        document()["paths"]["/search"]["post"]["requestBody"]["content"]["multipart/form-data"][
            "schema"
        ]
    )
    assert list(form["properties"])[:3] == list(MODALITIES)
    page = server.client.get("/docs/").text
    for path in document()["paths"]:
        assert f"<code>{path}</code>" in page
    assert "<script" not in page


def test_the_first_version_has_a_path_of_its_own(server: Server) -> None:
    sent: dict[str, Any] = {"files": files(5), "data": {"gallery": "people", "k": "2"}}
    new, old = (server.client.post(path, **sent).json() for path in ("/v1/search", "/search"))
    assert new["hits"] == old["hits"]
    assert server.client.get("/v1/search").status_code == 405
    assert server.client.get("/v1/nothing").json()["error"]["code"] == "not_found"
