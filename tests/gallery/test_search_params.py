"""`SearchParams`: one type for a search from Python, HTTP, the command line and the client."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import trireid
import trireid.cli
import trireid.gallery
from tests.conftest import ROOT, make_sample
from trireid.gallery import Gallery, SearchParams
from trireid.gallery.search_params import OPTIONS
from trireid.samples import GalleryError, TrireidError
from trireid.serving import requests
from trireid.serving.openapi import document
from trireid.serving.request_form import validate
from trireid.serving.schemas import SearchForm


def test_the_package_exports_what_it_names() -> None:
    for name in trireid.gallery.__all__:
        assert getattr(trireid.gallery, name) is not None
    assert trireid.SearchParams is SearchParams
    assert OPTIONS == ("k", "where", "other_cameras", "rerank", "by_identity", "min_score")


def test_parameters_need_pydantic_alone() -> None:
    code = """
import sys
for name in ("numpy", "PIL", "faiss", "onnxruntime", "torch", "starlette", "bentoml"):
    sys.modules[name] = None
from trireid import SearchParams
assert SearchParams(k="3").k == 3
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_in_the_help_in_openapi_and_in_a_form(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trireid.cli.main(["search", "--help"]) == 0
    flag = "-k" if name == "k" else f"--{name.replace('_', '-')}"
    assert f"  {flag}" in capsys.readouterr().out
    field = SearchParams.model_fields[name]
    assert field.description
    form = document()["components"]["schemas"]["SearchForm"]["properties"]
    assert form[name]["description"] == field.description
    assert name in SearchForm.model_fields


def test_a_client_sends_what_differs_from_the_defaults_and_a_server_reads_it() -> None:
    params = SearchParams(k=3, where={"camera": [1, 2]}, rerank=True, min_score=0.25)
    sent = requests.search(make_sample(0), params=params).fields
    assert sent == {"k": "3", "where": '{"camera": [1, 2]}', "rerank": "true", "min_score": "0.25"}
    assert SearchParams.merge(validate(SearchForm, dict(sent)), {}) == params
    assert requests.search(make_sample(0)).fields == {}


UNKNOWN: dict[str, Any] = {"rerenk": True}
WRONG: list[dict[str, Any]] = [
    {"k": 0},
    {"k": True},
    {"k": 2.5},
    {"k": "ten"},
    {"min_score": 2},
    {"rerank": "perhaps"},
    {"where": "{x"},
    {"where": '{"a": 1, "a": 2}'},
    {"where": [1]},
    UNKNOWN,
]


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_what_cannot_be_is_one_line_that_names_it(
    options: dict[str, Any], gallery: Gallery
) -> None:
    ((name, _),) = options.items()
    for refused in (
        lambda: SearchParams(**options),
        lambda: gallery.search(make_sample(0), **options),
        lambda: requests.search(make_sample(0), **options),
    ):
        with pytest.raises(GalleryError) as caught:
            refused()
        assert (caught.value.field, caught.value.code) == (name, "invalid")
        assert name in caught.value.message
        assert "\n" not in caught.value.message
    with pytest.raises(TrireidError) as told:
        validate(SearchForm, dict(options))
    assert (told.value.field, told.value.code) == (name, "invalid")


def test_an_unknown_option_is_refused_everywhere(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GalleryError, match="did you mean rerank"):
        gallery.search(make_sample(0), **UNKNOWN)
    with pytest.raises(TrireidError, match="did you mean rerank"):
        validate(SearchForm, {"rerenk": "true"})
    arguments = ["search", "--gallery", "x", "--rgb", "a.png", "--rerenk"]
    with pytest.raises(SystemExit) as ended:
        trireid.cli.main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "--rerenk" in told
    assert told.count("\n") == 1


def test_parameters_are_frozen_and_single_options_replace_theirs(gallery: Gallery) -> None:
    gallery.add([make_sample(i, id=f"s{i}", camera=i % 2) for i in range(6)])
    params = SearchParams(k=4, where={"camera": 1})
    with pytest.raises(ValidationError):
        params.k = 5  # type: ignore[misc]
    found = gallery.search(make_sample(0), params)
    assert [hit.camera for hit in found] == [1, 1, 1]
    assert found == gallery.search(make_sample(0), k=4, where={"camera": 1})
    assert gallery.search(make_sample(0), params, k=2) == found[:2]
    with pytest.raises(GalleryError, match="give single options by name"):
        gallery.search(make_sample(0), 5)  # type: ignore[arg-type]
