"""Limits on a request's body: its size, counted as it arrives, and the time in which it must
arrive.

A chunked body declares no length, and a client may send a byte now and then: neither evades the
limits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope


def limit_body(
    scope: Scope, receive: Receive, *, most: int, seconds: float, take: Callable[[int], None]
) -> Receive:
    """Wrap a request's `receive` so that a body over a limit ends in an HTTPException.

    Args:
        scope: of the request.
        receive: what gives its body.
        most: bytes of the body, beyond which the status is 413; a declared length counts before the
            body is read.
        seconds: in which all of it must arrive, beyond which the status is 408.
        take: called with the number of bytes of each part before it is passed on; it may raise.
    """
    declared = Headers(scope=scope).get("content-length", "")
    received, until, is_whole = 0, time.monotonic() + seconds, False

    async def receive_limited() -> Message:
        nonlocal received, is_whole
        if is_whole:
            return await receive()
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
            raise _too_large(most)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the request took over {seconds:g} s to arrive") from error
        size = len(message.get("body", b""))
        received += size
        is_whole = not message.get("more_body", False)
        if received > most:
            raise _too_large(most)
        take(size)
        return message

    return receive_limited


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the request is over {most // 2**20} MiB")
