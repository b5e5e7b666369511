"""The HTTP face on its own: what no real server can be made to show at will."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from samples import GalleryError
from serving.app import create_app


class FailingDesk:
    """A desk whose store, or whose own code, fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def listing(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [GalleryError("/srv/secret: the disk is full", "/srv/secret", "store"), KeyError("secret")], ids=["store", "bug"]
)
def test_a_fault_of_the_servers_own_tells_nothing_of_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app()
    app.state.desk = FailingDesk(error)
    monkeypatch.setattr("serving.desk.Desk.listing", FailingDesk.listing)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/galleries")

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
