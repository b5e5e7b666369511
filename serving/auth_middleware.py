"""The outermost layer: each request gets its id, is rejected where it is malformed, and answers
carry what protects a browser.

Only the three health paths go to BentoML's own application. Everything else goes to ours, whose
routes know who may ask for them: no second parser of the path decides about access.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trireid.serving.access_control import PRINCIPAL
from trireid.serving.errors import answer_with_status
from trireid.serving.logs import event
from trireid.serving.metrics import Metrics

#: Key of a request's id in its ASGI scope.
REQUEST_ID: Final = "trireid.request_id"
#: The route that a request matched, as metrics name it, in its ASGI scope.
ROUTE: Final = "trireid.route"
#: BentoML's, and public.
HEALTH: Final = ("/livez", "/readyz", "/healthz")
PROTECTION: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; "
    "script-src 'self'; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Not logged where all is well: they are asked for every few seconds.
_QUIET: Final = (*HEALTH, "/metrics")
_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class AuthMiddleware:
    """ASGI middleware around everything that is served.

    Args:
        health: BentoML's application, for the health paths.
        app: ours.
        metrics: where each answer is counted.
        root_path: that comes before the paths of requests, where a proxy does not strip it.
    """

    def __init__(
        self, health: ASGIApp, *, app: ASGIApp, metrics: Metrics, root_path: str = ""
    ) -> None:
        self.health, self.app, self.metrics, self.root_path = health, app, metrics, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.health(scope, receive, send)
            return
        if self.root_path and scope["path"].startswith(f"{self.root_path}/"):
            scope["path"] = scope["path"].removeprefix(self.root_path)
        exchange = _Exchange(scope, Headers(scope=scope).get("x-request-id"))
        try:
            await self._choose_app(scope)(scope, receive, exchange.watch(send))
        finally:
            self._record(scope, exchange)

    def _choose_app(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        if _CONTROL.search(scope["path"]):
            return answer_with_status(400, "the path holds a control character")
        if len(headers.getlist("host")) != 1 and (
            scope["http_version"] != "1.0" or "host" in headers
        ):
            return answer_with_status(400, "a request has exactly one Host header")
        if len(headers.getlist("authorization")) > 1:
            return answer_with_status(400, "a request has at most one Authorization header")
        if scope["path"] in HEALTH:
            scope[ROUTE] = scope["path"]
            return self.health
        return self.app

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.began
        route = scope.get(ROUTE, "other")
        self.metrics.count_answer(route, exchange.status, seconds)
        if exchange.code:
            self.metrics.count_error(exchange.code)
        if route in _QUIET and exchange.status < 400:
            return
        principal = scope.get(PRINCIPAL)
        event(
            "request",
            logging.WARNING if exchange.status >= 500 else logging.INFO,
            id=exchange.id,
            method=scope["method"],
            path=scope["path"][:200],
            status=exchange.status,
            code=exchange.code,
            ms=round(1000 * seconds, 1),
            caller=principal.name if principal else None,
            client=scope["client"][0] if scope.get("client") else None,
        )


class _Exchange:
    """A request and the answer to it, as far as the log needs them."""

    def __init__(self, scope: Scope, wanted_id: str | None) -> None:
        self.began = time.perf_counter()
        self.id = wanted_id if wanted_id and _ID.fullmatch(wanted_id) else secrets.token_hex(16)
        # 499, as elsewhere: the client was gone before there was an answer
        self.status, self.code = 499, ""
        scope[REQUEST_ID] = self.id

    def watch(self, send: Send) -> Send:
        """Wrap `send` so that the status is noted, and headers are added."""

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = MutableHeaders(scope=message)
                self.code = headers.get("x-error-code", "")
                _protect(headers, {"X-Request-Id": self.id, **PROTECTION})
            await send(message)

        return send_and_note


def _protect(headers: MutableHeaders, wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
