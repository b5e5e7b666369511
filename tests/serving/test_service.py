"""The service, end to end: every path through a real server, and every bad request its own 4xx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import encode_image, find_shared, make_sample
from tests.samples.test_decode import bomb, saved
from tests.serving.conftest import Server, start, stop
from trireid.gallery import Gallery
from trireid.inference import Embedder

Files = dict[str, Any]


def files(seed: int, *modalities: str) -> Files:
    sample = make_sample(seed)
    return {
        name: (f"{name}.png", getattr(sample, name)) for name in modalities or ("rgb", "nir", "tir")
    }


def test_search_finds_the_item_that_was_added(server: Server) -> None:
    answer = server.client.post(
        "/search", files=files(5), data={"gallery": "people", "k": "3", "camera": "1"}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert (body["gallery"], body["model"], body["present"]) == (
        "people",
        "tiny",
        ["rgb", "nir", "tir"],
    )
    assert [hit["rank"] for hit in body["hits"]] == [1, 2, 3]
    first = body["hits"][0]
    assert (first["id"], first["identity"], first["camera"], first["kind"]) == (
        "s5",
        "2",
        1,
        "person",
    )
    assert first["score"] == pytest.approx(1, abs=1e-5)
    image = server.client.get(first["images"]["tir"])
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content[:2] == b"\xff\xd8"


def test_embed_gives_what_the_artifact_gives(server: Server, embedder: Embedder) -> None:
    body = server.client.post("/embed", files=files(5, "rgb", "tir"), data={"camera": "2"}).json()
    sample = make_sample(5)
    expected = embedder.embed([type(sample)(rgb=sample.rgb, tir=sample.tir, camera=2)])[0]
    assert np.abs(np.array(body["embedding"]) - expected).max() < 1e-6
    assert (body["dim"], body["model"], body["present"]) == (192, "tiny", ["rgb", "tir"])
    other = server.client.post("/embed", files=files(5), data={"gallery": "cars"}).json()
    assert other["model"] == "other"


def test_filters_and_other_cameras(server: Server) -> None:
    query = {"gallery": "people", "k": "100", "camera": "1"}
    asked = {**query, "where": json.dumps({"camera": [1, 2], "identity": "2"})}
    hits = server.client.post("/search", files=files(5), data=asked).json()["hits"]
    assert {hit["id"] for hit in hits} == {"s2", "s5"}
    hits = server.client.post(
        "/search", files=files(5), data={**query, "other_cameras": "true"}
    ).json()["hits"]
    assert {hit["camera"] for hit in hits} == {0, 2, 3}


def test_enroll_is_durable_and_found_and_removed(server: Server) -> None:
    known = {
        "gallery": "people",
        "identity": "Zoë",
        "camera": "7",
        "time": "2026-01-01T00:00:00",
        "kind": "person",
    }
    sent = {**known, "id": "z/1", "attributes": json.dumps({"coat": "red"})}
    assert server.client.post("/enroll", files=files(50), data=sent).json() == {"id": "z/1"}
    # another process reads it while the server runs
    with Gallery.open(server.folders[0]) as gallery:
        assert "z/1" in gallery.ids()
        assert gallery.search(make_sample(50), k=1)[0].identity == "Zoë"
    hit = server.client.post(
        "/search", files=files(50), data={"gallery": "people", "k": "1"}
    ).json()["hits"][0]
    assert (hit["id"], hit["camera"], hit["time"], hit["attributes"]) == (
        "z/1",
        7,
        known["time"],
        {"coat": "red"},
    )
    assert server.client.post("/remove", json={"gallery": "people", "identity": "Zoë"}).json() == {
        "removed": 1,
        "pending": False,
    }
    assert (
        server.client.post("/remove", json={"gallery": "people", "ids": ["z/1"]}).json()["removed"]
        == 0
    )


def test_galleries_are_listed_and_kept_apart(server: Server) -> None:
    listed = {
        entry["name"]: entry for entry in server.client.post("/galleries").json()["galleries"]
    }
    assert set(listed) == {"people", "cars"}
    assert (listed["people"]["size"], listed["people"]["model"], listed["people"]["dimension"]) == (
        12,
        "tiny",
        192,
    )
    assert not listed["people"]["demo_network"]
    assert (
        server.client.post("/search", files=files(5), data={"gallery": "cars"}).json()["hits"] == []
    )


def sixteen_bit() -> bytes:
    from PIL import Image

    return saved(Image.fromarray(np.arange(64 * 32, dtype=np.uint16).reshape(64, 32) * 31), "PNG")


def test_unusual_images_are_taken(server: Server) -> None:
    for data in (sixteen_bit(), encode_image(1, "WEBP"), encode_image(1, "TIFF")):
        answer = server.client.post(
            "/search", files={"tir": ("t", data)}, data={"gallery": "people"}
        )
        assert answer.status_code == 200


def kelvins() -> bytes:
    from PIL import Image

    return saved(Image.fromarray(np.full((64, 32), 300, np.float32)), "TIFF")


MANY = {f"key {i}": 1 for i in range(1100)}
JSON = {"content-type": "application/json"}
PEOPLE = {"gallery": "people"}
GOOD = {"rgb": ("a.png", encode_image(1))}
BAD: dict[str, tuple[str, dict[str, Any], int, str | None]] = {
    "no image": ("/search", {"files": {"k": (None, "3")}}, 400, "rgb"),
    "no body": ("/search", {}, 400, "rgb"),
    "JSON instead of a form": ("/embed", {"json": {"rgb": "http://127.0.0.1:1/x.png"}}, 400, "rgb"),
    "text": ("/search", {"files": {"nir": ("a.png", b"hello")}, "data": PEOPLE}, 415, "nir"),
    "empty file": ("/search", {"files": {"tir": ("a.png", b"")}, "data": PEOPLE}, 400, "tir"),
    "cut short": ("/embed", {"files": {"rgb": ("a.png", encode_image(1)[:-99])}}, 400, "rgb"),
    "1 x 1": ("/embed", {"files": {"rgb": ("a.png", encode_image(1, size=(1, 1)))}}, 400, "rgb"),
    "bomb": ("/embed", {"files": {"rgb": ("a.png", bomb(20_000))}}, 413, "rgb"),
    "gif": ("/embed", {"files": {"tir": ("a.gif", encode_image(1, "GIF"))}}, 415, "tir"),
    "a URL for an image": (
        "/embed",
        {"files": {"rgb": (None, "http://127.0.0.1:1/x.png")}},
        400,
        "rgb",
    ),
    "the same image field twice": ("/embed", {"files": [("rgb", GOOD["rgb"])] * 2}, 400, "rgb"),
    "a file for a text field": (
        "/search",
        {"files": {**GOOD, "k": ("k.txt", b"3")}, "data": PEOPLE},
        400,
        "k",
    ),
    "gallery not named": ("/search", {"files": GOOD}, 400, "gallery"),
    "unknown gallery": ("/search", {"files": GOOD, "data": {"gallery": "pets"}}, 404, "gallery"),
    "k = 0": ("/search", {"files": GOOD, "data": {**PEOPLE, "k": "0"}}, 422, "k"),
    "k = 1001": ("/search", {"files": GOOD, "data": {**PEOPLE, "k": "1001"}}, 422, "k"),
    "k in words": ("/search", {"files": GOOD, "data": {**PEOPLE, "k": "ten"}}, 422, "k"),
    "camera in words": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "camera": "left"}},
        422,
        "camera",
    ),
    "camera far out": (
        "/enroll",
        {"files": GOOD, "data": {**PEOPLE, "camera": "9" * 30}},
        422,
        "camera",
    ),
    "broken where": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": "{camera"}},
        422,
        "where",
    ),
    "where is a list": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": "[1]"}},
        422,
        "where",
    ),
    "where means nothing": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": '{"camera": {"near": 1}}'}},
        422,
        "where",
    ),
    "where asks for no kind": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": '{"kind": "Person"}'}},
        422,
        "where",
    ),
    "where asks for no key": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": '{"cammera": 1}'}},
        422,
        "where",
    ),
    "other cameras than which": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "other_cameras": "true"}},
        400,
        "camera",
    ),
    "an unknown field": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "galery": "x"}},
        422,
        "galery",
    ),
    "unknown kind": ("/enroll", {"files": GOOD, "data": {**PEOPLE, "kind": "dog"}}, 422, "kind"),
    "broken attributes": (
        "/enroll",
        {"files": GOOD, "data": {**PEOPLE, "attributes": "{"}},
        422,
        "attributes",
    ),
    "broken JSON": ("/remove", {"content": b"{oops", "headers": JSON}, 400, "body"),
    "JSON that is not an object": ("/remove", {"content": b"[1]", "headers": JSON}, 400, "body"),
    "not UTF-8": ("/remove", {"content": b"\xff\xfe{", "headers": JSON}, 400, "body"),
    "a number of 5000 digits": ("/remove", {"content": b"9" * 5000, "headers": JSON}, 400, "body"),
    "JSON of 100,000 brackets": (
        "/remove",
        {"content": b"[" * 100_000, "headers": JSON},
        400,
        "body",
    ),
    "a form of another page": (
        "/remove",
        {"content": b'{"ids": ["s1"]}', "headers": {"content-type": "text/plain"}},
        415,
        "body",
    ),
    "an attribute called like a field": (
        "/enroll",
        {"files": GOOD, "data": {**PEOPLE, "attributes": '{"nir": "/home/me/secret.png"}'}},
        422,
        "attributes",
    ),
    "an expiry that is not a time": (
        "/enroll",
        {"files": GOOD, "data": {**PEOPLE, "expires": "soon"}},
        422,
        "expires",
    ),
    "NaN": (
        "/enroll",
        {"files": GOOD, "data": {**PEOPLE, "attributes": '{"a": NaN}'}},
        400,
        "attributes",
    ),
    "kelvins": ("/embed", {"files": {"tir": ("a.tif", kelvins())}}, 415, "tir"),
    "too many conditions": (
        "/search",
        {"files": GOOD, "data": {**PEOPLE, "where": json.dumps(MANY)}},
        422,
        "where",
    ),
    "both ids and identity": (
        "/remove",
        {"json": {**PEOPLE, "ids": ["a"], "identity": "b"}},
        422,
        None,
    ),
    "a broken form": (
        "/search",
        {
            "content": b"--x\r\nno header",
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        400,
        None,
    ),
    "a form without a boundary": (
        "/search",
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        None,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_its_4xx(server: Server, name: str) -> None:
    path, request, status, field = BAD[name]
    answer = server.client.post(path, **request)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "field"}
    assert error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("key", ["0", "9" * 20, "9" * 5000, "-1", "x", "%2e%2e"])
def test_images_that_are_not_there(server: Server, key: str) -> None:
    assert server.client.get(f"/images/people/{key}/rgb").status_code == 404


def test_a_method_that_is_not_taken(server: Server) -> None:
    assert server.client.get("/search").status_code == 405


def test_a_body_over_the_limit_is_refused_even_in_chunks(server: Server) -> None:
    def chunks() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="rgb"; filename="a"\r\n\r\n'
        for _ in range(70):
            yield bytes(2**20)

    try:
        answer = server.client.post(
            "/search", content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"}
        )
    except httpx.WriteError:  # the server answered and hung up while we were still sending
        return
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


def test_the_server_is_well_after_all_this(server: Server) -> None:
    assert server.client.get("/livez").status_code == 200
    assert server.client.post("/search", files=files(5), data=PEOPLE).status_code == 200
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "status=500" not in log


def test_sigterm_ends_the_whole_server(server: Server, tmp_path: Path) -> None:
    process, client = start((server.folders[1],), tmp_path / "log")
    only = client.post("/search", files=files(1))
    # the one gallery need not be named
    assert (only.status_code, only.json()["gallery"]) == (200, "cars")
    stop(process)
    with pytest.raises(httpx.TransportError):
        client.get("/livez")


def test_real_triplets(server: Server) -> None:
    folder = find_shared("real") / "person"
    sent = {
        name: (f"{name}.png", (folder / f"ideaP_0_query_01_{name}.png").read_bytes())
        for name in ("rgb", "nir", "tir")
    }
    hits = server.client.post("/search", files=sent, data={**PEOPLE, "k": "5"}).json()["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
