"""The HTTP application: reads requests, calls the galleries in a worker thread, and gives every
error its status and one clear line.

Images are taken as bytes and decoded by `samples`; a URL is never fetched.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from trireid.samples.errors import (
    BusyError,
    ForbiddenError,
    GalleryLockedError,
    GalleryReadOnlyError,
    InvalidValueError,
    ItemExistsError,
    MediaTypeError,
    TrireidError,
)
from trireid.serving.access import Principal, TokenStore
from trireid.serving.access import Scope as Access
from trireid.serving.access_control import PRINCIPAL, AccessControl, choose_gallery
from trireid.serving.admission import AdmissionControl
from trireid.serving.audit import Audit
from trireid.serving.body_limit import limit_body
from trireid.serving.deadline import deadline
from trireid.serving.docs_page import docs_page
from trireid.serving.errors import answer_to, answer_with_status, error_answer, is_internal
from trireid.serving.gallery_service import GalleryService, Images
from trireid.serving.logs import log
from trireid.serving.metrics import CONTENT_TYPE
from trireid.serving.openapi import document
from trireid.serving.operations import IMAGE_PATH, OPERATIONS, ROUTE, VERSION_PREFIX, Operation
from trireid.serving.request_audit import RequestAudit, describe_answer, describe_fields
from trireid.serving.request_form import (
    MAX_JSON_BYTES,
    media_type,
    read_form,
    read_images,
    read_texts,
    unknown_field,
    validate,
    validate_json,
)
from trireid.serving.schemas import EmbedForm, EnrollForm, Form, RemoveForm, SearchForm, WhoAmI
from trireid.serving.settings import ServerSettings

UI: Final = Path(__file__).parent / "ui"
#: Requests at work at the same time: enough that a forward pass finds others to share it with.
_THREADS: Final = 32
_KEY_DIGITS: Final = 18  # a store's keys are 64-bit
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

Query = TypeVar("Query", bound=EmbedForm)
Endpoint = Callable[[Request], Awaitable[Response]]


class Guarded:
    """An endpoint that only a request with the scope of its operation reaches; an ASGI application."""

    def __init__(self, operation: Operation, endpoint: Endpoint) -> None:
        self.operation, self.endpoint = operation, endpoint
        self.methods = {*operation.methods, *(["HEAD"] if "GET" in operation.methods else [])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorize the request, admit its body within limits, and answer it."""
        scope[ROUTE] = self.operation.label
        request = Request(scope)
        request.app.state.access.authorize(request, self.operation.scope)
        if request.method not in self.methods:
            allowed = ", ".join(sorted(self.methods))
            raise HTTPException(
                405,
                f"{request.method} is not taken here, but {allowed}; see /docs/",
                {"Allow": allowed},
            )
        unread = next(iter(request.query_params), None)
        if unread is not None:
            raise unknown_field(
                unread[:100], (), "a parameter of the URL; fields are sent in the body"
            )
        if self.operation.form is None and self.operation.body is None:
            response = await self.endpoint(request)
            await response(scope, receive, send)
            return
        settings: ServerSettings = request.app.state.settings
        most = (
            settings.body_bytes if self.operation.form else min(MAX_JSON_BYTES, settings.body_bytes)
        )
        with request.app.state.admission.admit() as take:
            limited = limit_body(
                scope, receive, most=most, seconds=settings.body_seconds, take=take
            )
            response = await self.endpoint(Request(scope, limited))
        await response(scope, receive, send)


def create_app(
    settings: ServerSettings | None = None,
    audit: Audit | None = None,
    access: AccessControl | None = None,
) -> Starlette:
    """The application; its `state.galleries` must be set before the first request.

    Without `access` there are no tokens.
    """
    settings = settings or ServerSettings()
    endpoints: dict[str, Endpoint] = {
        "/search": _with_images(SearchForm, GalleryService.search),
        "/embed": _with_images(EmbedForm, GalleryService.embed),
        "/enroll": _enroll,
        "/remove": _remove,
        "/galleries": _galleries,
        "/galleries/{gallery}": _gallery,
        IMAGE_PATH: _image,
        "/whoami": _whoami,
    }
    asked = [
        Route(prefix + path, Guarded(each, endpoints[each.path]))
        for prefix in ("", VERSION_PREFIX)
        for each in OPERATIONS
        for path in (each.path, *each.old_paths)
    ]
    handlers: dict[Any, Any] = {
        TrireidError: _on_bad_input,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        Exception: _on_bug,
    }
    app = Starlette(routes=[*asked, *_pages()], exception_handlers=handlers)
    app.router.redirect_slashes, app.router.default = False, _nowhere
    app.state.settings, app.state.audit = settings, audit or Audit(None)
    app.state.access = access or AccessControl(TokenStore(), settings)
    app.state.admission = AdmissionControl(settings.queue, settings.body_bytes)
    return app


def _pages() -> list[BaseRoute]:
    """The public pages, which show nothing of a gallery, and metrics."""
    described = document()
    page = docs_page(described)
    metrics = [
        Route(prefix + "/metrics", _metrics, methods=["GET"]) for prefix in ("", VERSION_PREFIX)
    ]
    return [
        *metrics,
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


def _with_images(
    form_type: type[Query], work: Callable[[GalleryService, Query, Images], BaseModel]
) -> Endpoint:
    """An endpoint that takes images and fields as a multipart form, and searches or embeds."""

    async def endpoint(request: Request) -> Response:
        async with read_form(request) as form:
            fields, images = (
                validate(form_type, read_texts(form, form_type.model_fields)),
                read_images(form),
            )
            is_first = form_type is EmbedForm
            gallery = _choose(request, Access.SEARCH, fields.gallery, first=is_first)
            fields = fields.model_copy(update={"gallery": gallery})
            return await _answer(request, work, fields, images)

    return endpoint


async def _enroll(request: Request) -> Response:
    async with read_form(request) as form:
        fields, images = (
            validate(EnrollForm, read_texts(form, EnrollForm.model_fields)),
            read_images(form),
        )
        gallery = _choose(request, Access.ENROLL, fields.gallery)
        fields = fields.model_copy(update={"gallery": gallery})
        principal: Principal = request.scope[PRINCIPAL]
        may_replace = principal.may(Access.REMOVE, gallery)
        try:
            return await _answer(
                request, partial(GalleryService.enroll, may_replace=may_replace), fields, images
            )
        except ItemExistsError as error:
            needed = f"{error.message}; to replace it needs the scope {Access.REMOVE}, too"
            raise ForbiddenError(
                f"{needed}, which the token {principal.name} does not have"
            ) from error


async def _remove(request: Request) -> Response:
    if media_type(request) != "application/json":
        # a form of another site cannot
        raise MediaTypeError("the body must be JSON, sent as application/json", "body")
    body = await request.body()
    fields = await anyio.to_thread.run_sync(validate_json, RemoveForm, body)
    gallery = _choose(request, Access.REMOVE, fields.gallery)
    return await _answer(
        request, GalleryService.remove, fields.model_copy(update={"gallery": gallery})
    )


def _choose(request: Request, scope: Access, name: str | None, *, first: bool = False) -> str:
    return choose_gallery(
        request.scope[PRINCIPAL],
        scope,
        list(request.app.state.galleries.galleries),
        name,
        first=first,
    )


async def _galleries(request: Request) -> Response:
    listing = await anyio.to_thread.run_sync(
        GalleryService.list_galleries, request.app.state.galleries
    )
    principal: Principal = request.scope[PRINCIPAL]
    listing.galleries = [
        each for each in listing.galleries if principal.may(Access.SEARCH, each.name)
    ]
    await RequestAudit(request).record(galleries=[each.name for each in listing.galleries])
    return _json(listing)


async def _gallery(request: Request) -> Response:
    name = _choose(request, Access.SEARCH, request.path_params["gallery"])
    detail = await anyio.to_thread.run_sync(
        GalleryService.describe_gallery, request.app.state.galleries, name
    )
    await RequestAudit(request).record(gallery=name)
    return _json(detail)


async def _image(request: Request) -> Response:
    gallery, key, modality = (request.path_params[name] for name in ("gallery", "key", "modality"))
    gallery = _choose(request, Access.SEARCH, gallery)
    thumbnail = None
    if key.isdecimal() and len(key) <= _KEY_DIGITS:
        thumbnail = await anyio.to_thread.run_sync(
            request.app.state.galleries.read_thumbnail, gallery, int(key), modality
        )
    if thumbnail is None:
        raise HTTPException(404, "no such image")
    await RequestAudit(request).record(gallery=gallery, key=int(key), modality=modality)
    return Response(
        thumbnail, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"}
    )


async def _metrics(request: Request) -> Response:
    request.scope[ROUTE] = "/metrics"
    request.app.state.access.authorize_metrics(request)
    return Response(
        await anyio.to_thread.run_sync(request.app.state.metrics.render), media_type=CONTENT_TYPE
    )


async def _whoami(request: Request) -> Response:
    principal: Principal = request.scope[PRINCIPAL]
    return _json(WhoAmI(name=principal.name, scopes=principal.granted, open=principal.name is None))


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what no route matches; an ASGI application."""
    request = Request(scope)
    request.app.state.access.authorize(request, None)
    raise HTTPException(404, f"there is nothing at {request.url.path[:100]}; see /docs/")


async def _answer(
    request: Request, work: Callable[..., BaseModel], fields: Form, *images: Images
) -> Response:
    """Run the work in a thread, within the queue and the deadline, record it, and answer
    with what it gives.
    """
    state = request.app.state
    if not hasattr(state, "limiter"):
        state.limiter = anyio.CapacityLimiter(_THREADS)

    async def run() -> BaseModel:
        with deadline(_seconds(request, state.settings.deadline)):
            return await anyio.to_thread.run_sync(
                work, state.galleries, fields, *images, limiter=state.limiter
            )

    audit, asked = RequestAudit(request), describe_fields(fields)
    if isinstance(fields, EnrollForm | RemoveForm):
        async with audit.recording(**asked) as result:
            answer = await run()
            result |= describe_answer(answer)
    else:
        answer = await run()
        await audit.record(**asked, **describe_answer(answer))
    return _json(answer)


def _seconds(request: Request, most: float) -> float:
    """The request's own deadline, where it asks for less than the server's."""
    asked = request.headers.get("x-deadline")
    if asked is None:
        return most
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidValueError(
            f"X-Deadline: must be seconds over 0, not {asked[:40]}", "X-Deadline"
        )
    return min(seconds, most)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


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
