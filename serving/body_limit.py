"""Limits on a request's body: how much it may hold, counted as it arrives, and by when it must have arrived.

A chunked body declares no length, and cannot evade the first; a client that sends a byte now and then cannot evade the second.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: where the application reads a body of over `most` bytes 413 is raised, and 408 where it takes longer
    than `seconds` to arrive.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self.app, self.most, self.seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching its body."""
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        received, until, whole = 0, time.monotonic() + self.seconds, scope["type"] != "http"

        async def watched() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            if declared.isdecimal() and (len(declared) > 18 or int(declared) > self.most):
                raise self._too_large()
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"the request took over {self.seconds:g} s to arrive") from error
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > self.most:
                raise self._too_large()
            return message

        await self.app(scope, watched, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request is over {self.most // 2**20} MiB")
