"""The guard at the door: gives each request its id, asks for its token, and sees that answers carry what protects a browser.

Without tokens a server answers only requests that come from its own machine and were meant for it: a page of another site that
a browser on this machine shows cannot ask it anything, whatever name it gives to the address.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access import ANYBODY, Caller, Keyring
from serving.access import Scope as Granted
from serving.errors import AccessError, answer_to, answer_with_status
from serving.limits import Limits, MetricsAccess
from serving.logs import event
from serving.metrics import Metrics
from serving.operations import is_public, label_of, route_of, scope_of
from serving.rate import RateLimit

#: Where the guard leaves what it found, in the request's scope.
CALLER: Final = "trireid.caller"
REQUEST_ID: Final = "trireid.request_id"
PROTECTION: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_HEALTH: Final = ("/livez", "/readyz", "/healthz", "/metrics")
#: BentoML's own, which describes nothing of ours.
_SCHEMA: Final = "/schema.json"
_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware around everything that is served."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring, limits: Limits, metrics: Metrics) -> None:
        self.app, self.keyring, self.limits, self.metrics = app, keyring, limits, metrics
        self.rate = RateLimit(limits.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where it may be; answer it otherwise."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        seen = _Seen(scope, headers.get("x-request-id"))
        if len(headers.getlist("host")) != (scope["http_version"] != "1.0" or "host" in headers):
            answer = answer_with_status(400, "a request has exactly one Host header")
            await answer(scope, receive, seen.watching(send))
            self._record(scope, seen)
            return
        try:
            scope[CALLER] = self._admitted(scope["path"], headers, scope.get("client"))
            if route_of(scope["path"]) == _SCHEMA:
                await answer_with_status(404, "there is nothing here; see /docs/")(scope, receive, seen.watching(send))
                return
        except AccessError as error:
            await answer_to(error)(scope, receive, seen.watching(send))
        else:
            await self.app(scope, receive, seen.watching(send))
        finally:
            self._record(scope, seen)

    def _admitted(self, path: str, headers: Headers, client: tuple[str, int] | None) -> Caller:
        """Who asks. Raises AccessError where it may not be answered."""
        route = route_of(path)
        if is_public(path):
            return Caller(None, frozenset())
        if route == "/metrics" and self.limits.metrics is MetricsAccess.OPEN:
            return Caller(None, frozenset())
        caller = self._caller(headers, client)
        needed = scope_of(path)
        if route == "/metrics":
            if self.limits.metrics is MetricsAccess.OFF:
                raise AccessError("metrics are off", "forbidden")
            needed = Granted.ADMIN
        if needed is not None and not caller.may(needed):
            raise AccessError(f"this needs the scope {needed}, which the token {caller.name} does not have", "forbidden")
        wait = self.rate.wait(caller.name)
        if wait:
            raise AccessError(f"over {self.limits.rate:g} requests a second; wait", "rate", wait)
        return caller

    def _caller(self, headers: Headers, client: tuple[str, int] | None) -> Caller:
        if self.keyring.empty:
            if not self.limits.open:
                _check_local(headers, client)
            return ANYBODY
        caller = self.keyring.caller(headers.get("authorization"))
        if caller is None:
            raise AccessError("a token is needed, and none that is known was sent: Authorization: Bearer TOKEN", "unauthorized")
        return caller

    def _record(self, scope: Scope, seen: _Seen) -> None:
        seconds, label = time.perf_counter() - seen.began, label_of(scope["path"])
        self.metrics.answered(label, seen.status, seconds)
        if seen.code:
            self.metrics.failed(seen.code)
        if route_of(scope["path"]) in _HEALTH and seen.status < 400:
            return
        caller = scope.get(CALLER)
        event(
            "request",
            logging.WARNING if seen.status >= 500 else logging.INFO,
            id=seen.id,
            method=scope["method"],
            path=scope["path"][:200],
            status=seen.status,
            code=seen.code,
            ms=round(1000 * seconds, 1),
            caller=caller.name if caller else None,
            client=scope["client"][0] if scope.get("client") else None,
        )


class _Seen:
    """What the guard notes of one request."""

    def __init__(self, scope: Scope, wished: str | None) -> None:
        self.began = time.perf_counter()
        self.id = wished if wished and _ID.fullmatch(wished) else secrets.token_hex(16)
        self.status, self.code = 499, ""  # 499, as elsewhere: the client was gone before there was an answer
        scope[REQUEST_ID] = self.id

    def watching(self, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = MutableHeaders(scope=message)
                self.code = headers.get("x-error-code", "")
                _protect(headers, {"X-Request-Id": self.id, **PROTECTION})
            await send(message)

        return watched


def _protect(headers: MutableHeaders, wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")


def _check_local(headers: Headers, client: Any) -> None:
    """Raises AccessError for a request that did not come from this machine, or was made by a page of another site."""
    address = client[0] if client else ""
    if not _is_loopback(address):
        raise AccessError("this server has no tokens, and answers requests from its own machine alone", "forbidden")
    host = headers.get("host", "")
    if re.sub(r":\d+$", "", host) not in _LOOPBACK_NAMES:
        raise AccessError(
            f"this server has no tokens, and answers to {', '.join(_LOOPBACK_NAMES)} alone, not to {host[:100]}", "forbidden"
        )
    origin = headers.get("origin")
    if (origin and origin.split("://")[-1] != host) or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise AccessError("a page of another site may not ask this server", "forbidden")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
