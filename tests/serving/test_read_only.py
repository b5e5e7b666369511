"""A read-only copy of a gallery, served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import encode_image, make_sample
from tests.serving.conftest import run_server
from trireid.gallery import Gallery
from trireid.inference import Embedder


@pytest.fixture
def served(tmp_path: Path, embedder: Embedder) -> Iterator[httpx.Client]:
    folder = tmp_path / "people.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(n, id=f"i{n}") for n in range(3)], keep=True)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with run_server((folder,), tmp_path / "log") as server:
        yield server.client
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    folder.chmod(0o700)


def test_it_is_searched_and_a_change_is_one_clear_error(served: httpx.Client) -> None:
    files = {"rgb": ("a.png", encode_image(3), "image/png")}
    found = served.post("/search", files=files)
    assert found.status_code == 200
    assert len(found.json()["hits"]) == 3
    assert served.get("/galleries/people").json()["size"] == 3
    for answer in (
        served.post("/enroll", files=files),
        served.post("/remove", json={"ids": ["i1"]}),
    ):
        assert answer.status_code == 409
        assert answer.json()["error"] == {
            "code": "read_only",
            "message": "the gallery is read-only: it can be searched, not changed",
            "field": "gallery",
        }
