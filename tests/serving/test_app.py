"""The HTTP face on its own: what no real server can be made to show at will."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from trireid.samples.errors import GalleryLockedError, StoreError
from trireid.serving.app import create_app


class FailingGalleryService:
    """A service whose store, or whose own code, fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def list_galleries(self) -> None:
        raise self.error


def answer_to(error: Exception) -> httpx.Response:
    """Answer a request while the service's listing fails."""
    app = create_app()
    app.state.galleries = FailingGalleryService(error)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/galleries")

    return asyncio.run(ask())


def test_a_gallery_that_others_write_to_for_long_is_busy() -> None:
    answer = answer_to(GalleryLockedError("/srv/secret: another process writes", "/srv/secret"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
    assert "retry-after" in answer.headers
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "error",
    [StoreError("/srv/secret: the disk is full", "/srv/secret"), KeyError("secret")],
    ids=["store", "bug"],
)
def test_an_error_of_the_servers_own_tells_nothing_of_it(error: Exception) -> None:
    answer = answer_to(error)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
