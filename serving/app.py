"""The HTTP application: the operations, the public pages, metrics, and the answers to errors."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from trireid.samples.errors import BusyError, GalleryLockedError, GalleryReadOnlyError, TrireidError
from trireid.serving.access import TokenStore
from trireid.serving.access_control import AccessControl
from trireid.serving.admission import AdmissionControl
from trireid.serving.audit import Audit
from trireid.serving.auth_middleware import ROUTE
from trireid.serving.docs_page import docs_page
from trireid.serving.errors import answer_to, answer_with_status, error_answer, is_internal
from trireid.serving.logs import log
from trireid.serving.metrics import CONTENT_TYPE
from trireid.serving.openapi import document
from trireid.serving.routes import VERSION_PREFIX, router
from trireid.serving.settings import ServerSettings

UI: Final = Path(__file__).parent / "ui"
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

#: Metrics and logs are our own; no exporter that the environment names is told of a request.
_NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    settings: ServerSettings | None = None,
    audit: Audit | None = None,
    access: AccessControl | None = None,
) -> FastAPI:
    """The application; its `state.galleries` must be set before the first request.

    Without `access` there are no tokens.
    """
    settings = settings or ServerSettings()
    handlers: dict[Any, Any] = {
        TrireidError: _on_bad_input,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        Exception: _on_bug,
    }
    app = FastAPI(
        openapi_url=None,  # its own pages would load scripts from another host
        redirect_slashes=False,
        routes=[*router.routes, *_pages()],
        exception_handlers=handlers,
        telemetry=_NO_TELEMETRY,
    )
    app.include_router(router, prefix=VERSION_PREFIX)
    app.router.default = _nowhere
    app.state.settings, app.state.audit = settings, audit or Audit(None)
    app.state.access = access or AccessControl(TokenStore(), settings)
    app.state.admission = AdmissionControl(settings.queue, settings.body_bytes)
    return app


def _pages() -> list[BaseRoute]:
    """The public pages, which show nothing of a gallery, and metrics."""
    described = document()
    page = docs_page(described)
    return [
        Route("/metrics", _metrics, methods=["GET"]),
        Route(f"{VERSION_PREFIX}/metrics", _metrics, methods=["GET"]),
        Route(
            "/openapi.json",
            _public("/openapi.json", lambda: JSONResponse(described)),
            methods=["GET"],
        ),
        Route("/docs", _public("/docs", lambda: RedirectResponse("docs/")), methods=["GET"]),
        Route("/docs/", _public("/docs", lambda: HTMLResponse(page)), methods=["GET"]),
        Route("/", _public("/", lambda: RedirectResponse("ui/")), methods=["GET"]),
        Route("/ui", _public("/ui", lambda: RedirectResponse("ui/")), methods=["GET"]),
        Mount("/ui", _UserInterface(directory=UI, html=True)),
    ]


class _UserInterface(StaticFiles):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = "/ui"
        await super().__call__(scope, receive, send)


def _public(label: str, create: Callable[[], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = label
        return create()

    return endpoint


async def _metrics(request: Request) -> Response:
    request.scope[ROUTE] = "/metrics"
    request.app.state.access.authorize_metrics(request)
    return Response(
        await anyio.to_thread.run_sync(request.app.state.metrics.render), media_type=CONTENT_TYPE
    )


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what no route matches; an ASGI application."""
    request = Request(scope)
    request.app.state.access.authorize(request, None)
    raise HTTPException(404, f"there is nothing at {request.url.path[:100]}; see /docs/")


async def _on_bad_input(request: Request, error: TrireidError) -> Response:
    if isinstance(error, GalleryReadOnlyError):
        error = GalleryReadOnlyError(
            "the gallery is read-only: it can be searched, not changed", "gallery"
        )
    if isinstance(error, GalleryLockedError):  # the message names the server's folder
        error = BusyError("another process has been writing to this gallery for long; try again")
    return await _on_bug(request, error) if is_internal(error) else answer_to(error)


async def _on_http_exception(_: Request, error: HTTPException) -> Response:
    return answer_with_status(error.status_code, str(error.detail), error.headers)


async def _on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    return error_answer(400, "disconnected", "the client hung up", None)


async def _on_bug(request: Request, error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        log.error("%s %s failed: the disk is full", request.method, request.url.path)
        return error_answer(
            507, "disk_full", "the server's disk is full; nothing was changed", None
        )
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_answer(500, "internal", "an error of the server; its log has the details", None)
