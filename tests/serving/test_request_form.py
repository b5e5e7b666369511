"""Fields and images of requests: bounds, names that are not read, and what browsers send."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import encode_image
from tests.serving.conftest import Server, read_memory
from tests.serving.test_service import files
from trireid.serving.request_form import MAX_JSON_BYTES
from trireid.serving.schemas import MAX_IDS

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"ids": [' + b"1," * 1_000_000 + b"1]}",
        b'{"ids": [' + b'"",' * 600_000 + b'""]}',
        b"[" * 2_000_000,
        b'{"a":' * 400_000,
        b'{"ids": ["' + b"a" * 2_000_000 + b'"]}',
    ],
    ids=["numbers", "empty", "lists", "objects", "one text"],
)
def test_large_json_is_refused_by_its_size(server: Server, body: bytes) -> None:
    answer = server.client.post(
        "/remove", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


def test_validation_ends_at_the_first_error_and_takes_no_time(server: Server) -> None:
    """A body within the limit, of errors alone."""
    body = b'{"ids": [' + b"1," * (MAX_JSON_BYTES // 2 - 20) + b"1]}"
    before, began = read_memory(server), time.perf_counter()
    answer = server.client.post(
        "/remove", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "ids")
    assert time.perf_counter() - began < 2
    assert read_memory(server) - before < 64 << 20
    assert len(answer.content) < 1000
    ids = [f"absent-{number}" for number in range(MAX_IDS + 1)]
    assert (
        server.client.post("/remove", json={"gallery": "people", "ids": ids}).json()["error"][
            "field"
        ]
        == "ids"
    )
    assert (
        server.client.post("/remove", json={"gallery": "people", "ids": ids[1:]}).json()["removed"]
        == 0
    )


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-16", "rot13", "zlib"])
def test_a_form_in_another_charset_is_refused(server: Server, charset: str) -> None:
    content_type = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = server.client.post("/search", content=b"--b--\r\n", headers=content_type)
    assert (answer.status_code, charset in answer.text) == (415, True)


@pytest.mark.parametrize(
    "parameters", ["x-charset=utf-8; charset=zlib", "charset=utf-8; charset=zlib", "charset =zlib"]
)
def test_no_spelling_hides_another_charset(server: Server, parameters: str) -> None:
    content_type = {"Content-Type": f"multipart/form-data; {parameters}; boundary=b"}
    answer = server.client.post("/search", content=b"--b--\r\n", headers=content_type)
    assert (answer.status_code, "zlib" in answer.text) == (415, True)


def test_a_text_field_has_a_limit(server: Server) -> None:
    data = {"gallery": "people", "where": json.dumps({"camera": list(range(100_000))})}
    answer = server.client.post("/search", files=files(5), data=data)
    assert answer.status_code == 400
    assert "64KB" in answer.text


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("image", None),
        ("file", None),
        ("RGB", "rgb"),
        ("ni", "nir"),
        ("thermal", "tir"),
        ("rbg", "rgb"),
    ],
)
def test_a_file_under_another_name_is_named(server: Server, name: str, near: str | None) -> None:
    answer = server.client.post(
        "/search", files={name: ("a.png", encode_image(1))}, data={"gallery": "people"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, name)
    assert "rgb, nir, tir" in error["message"]
    assert near is None or f"did you mean {near}?" in error["message"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("identty", "identity"), ("cam", "camera"), ("pid", "identity"), ("whatever", None)],
)
def test_an_unknown_field_is_named_with_the_nearest_one(
    server: Server, name: str, near: str | None
) -> None:
    answer = server.client.post("/enroll", files=files(5), data={"gallery": "people", name: "1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"], error["code"]) == (422, name, "invalid")
    assert near is None or f"did you mean {near}?" in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/enroll?gallery=people&identity=Ann"),
        ("POST", "/search?k=1"),
        ("GET", "/galleries?name=people"),
        ("GET", "/galleries/people?x="),
        ("GET", "/images/people/1/rgb?size=9"),
        ("GET", "/whoami?a=b"),
    ],
)
def test_parameters_of_the_url_are_not_passed_over(server: Server, method: str, path: str) -> None:
    request: dict[str, Any] = (
        {"files": files(5), "data": {"gallery": "people"}} if method == "POST" else {}
    )
    answer = server.client.request(method, path, **request)
    assert (answer.status_code, answer.json()["error"]["field"]) == (
        422,
        path.split("?")[1].split("=")[0],
    )


def test_a_file_field_without_a_file_is_not_sent(server: Server) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
    rest = b'--b\r\nContent-Disposition: form-data; name="gallery"\r\n\r\npeople\r\n--b--\r\n'
    whole = part % (b"rgb", b"a.png", encode_image(1))
    answer = server.client.post(
        "/search", content=whole + part % (b"nir", b"", b"") + rest, headers=MULTIPART
    )
    assert (answer.status_code, answer.json()["present"]) == (200, ["rgb"])
    answer = server.client.post(
        "/search", content=whole + part % (b"nir", b"empty.png", b"") + rest, headers=MULTIPART
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "nir")
    answer = server.client.post(
        "/search", content=part % (b"nir", b"", b"") + rest, headers=MULTIPART
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "missing")


@pytest.mark.parametrize(
    ("path", "data", "field"),
    [
        ("/search", {"where": '{"camera": 1, "camera": 2}'}, "where"),
        ("/search", {"where": '{"camera": {"gte": 1, "gte": 2}}'}, "where"),
        ("/enroll", {"attributes": '{"coat": "red", "coat": "blue"}'}, "attributes"),
    ],
)
def test_a_key_that_is_named_twice_is_refused(
    server: Server, path: str, data: dict[str, str], field: str
) -> None:
    answer = server.client.post(path, files=files(5), data={"gallery": "people", **data})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert "is named twice" in answer.json()["error"]["message"]


def test_a_removal_that_names_its_ids_twice_removes_nothing(server: Server) -> None:
    body = b'{"gallery": "people", "ids": ["s1"], "ids": ["s2"]}'
    answer = server.client.post(
        "/remove", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, "named twice" in answer.text) == (400, True)
