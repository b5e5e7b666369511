"""A real server under images that cost far more than their bytes: each is refused, and others are
served all the while.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.samples.hostile_images import ENDURED, HOSTILE, rle_bmp
from tests.serving.conftest import Server
from tests.serving.test_service import files

_AT_ONCE = 8


@contextmanager
def others(server: Server) -> Iterator[list[int]]:
    """Ordinary searches, one after the other, while the block runs; their statuses."""
    statuses, over = list[int](), threading.Event()

    def search() -> None:
        while not over.is_set() or not statuses:
            statuses.append(
                server.client.post(
                    "/search", files=files(5), data={"gallery": "people"}
                ).status_code
            )

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        yield statuses
    finally:
        over.set()
        searcher.join()


def send(
    server: Server, path: str, content: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    """An image as the thermal one of a request."""
    sent = {"tir": ("a", content)}
    return server.client.post(path, files=sent, data={"gallery": "people"}, headers=headers)


@pytest.mark.parametrize("path", ["/search", "/enroll"])
def test_hostile_images_are_refused_while_others_are_served(server: Server, path: str) -> None:
    contents = [HOSTILE[name]() for name in HOSTILE]
    with others(server) as statuses, ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda content: send(server, path, content), contents))
    for name, answer in zip(HOSTILE, answers, strict=True):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) in ((413, "too_large"), (400, "corrupt")), (
            name,
            error,
        )
        assert error["field"] == "tir", name
    assert set(statuses) == {200}


def test_strange_images_are_read_or_refused_while_others_are_served(server: Server) -> None:
    contents = [make() for make in ENDURED.values()]
    with others(server) as statuses, ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda content: send(server, "/search", content), contents))
    assert {answer.status_code for answer in answers} <= {200, 400, 413}
    assert set(statuses) == {200}


def test_decoding_ends_with_the_requests_deadline(server: Server) -> None:
    content = rle_bmp(3000, 3000, (b"\x01\x07" * 3000 + b"\0\0") * 3000)
    answer = send(server, "/search", content, {"X-Deadline": "0.4"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline")
