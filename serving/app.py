"""The HTTP face: reads requests, calls the desk in a worker thread, and gives every fault its status and one clear line.

Pictures are taken as bytes and decoded by `samples`; a URL is never fetched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles

from samples import MODALITIES, PictureError, TrireidError
from serving.access import Caller
from serving.audit import Audit
from serving.body_limit import BodyLimit
from serving.deadline import BusyError, deadline
from serving.desk import Desk, Pictures
from serving.docs_page import docs_page
from serving.errors import INTERNAL, answer_to, answer_with_status, error_answer
from serving.guard import CALLER, REQUEST_ID
from serving.limits import Limits
from serving.logs import log
from serving.metrics import CONTENT_TYPE, Metrics
from serving.openapi import document
from serving.operations import OPERATIONS, VERSION_PREFIX
from serving.schemas import (
    EmbedForm,
    EnrollAnswer,
    EnrollForm,
    Form,
    RemoveAnswer,
    RemoveForm,
    SearchAnswer,
    SearchForm,
    WhoAmI,
)

UI: Final = Path(__file__).parent / "ui"
#: Requests at work at the same time: enough that a forward pass finds others to share it with.
_THREADS: Final = 32
_KEY_DIGITS: Final = 18  # a store's keys are 64-bit
_FILES, _FIELDS = 8, 32

Fields = TypeVar("Fields", bound=Form)
Endpoint = Callable[[Request], Awaitable[Response]]


class Counter:
    """The requests that are at work or wait for it, at most `most`."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0
        self.metrics: Metrics | None = None

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a request for as long as it is inside. Raises BusyError where there are too many."""
        if self.now >= self.most:
            raise BusyError(f"{self.most} requests wait already; try again", None, "busy")
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.now += change
        if self.metrics:
            self.metrics.queued(self.now)


def create_app(limits: Limits | None = None, audit: Audit | None = None) -> Starlette:
    """The application; its `state.desk` must be set before the first request."""
    limits = limits or Limits()
    endpoints: dict[str, Endpoint] = {
        "/search": _with_pictures(SearchForm, Desk.search),
        "/embed": _with_pictures(EmbedForm, Desk.embed),
        "/enroll": _with_pictures(EnrollForm, Desk.enroll),
        "/remove": _remove,
        "/galleries": _galleries,
        "/galleries/{gallery}": _gallery,
        "/pictures/{gallery}/{key}/{modality}": _picture,
        "/whoami": _whoami,
    }
    asked = [Route(each.path, endpoints[each.path], methods=list(each.methods)) for each in OPERATIONS]
    handlers: dict[Any, Any] = {
        TrireidError: _on_bad_input,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        Exception: _on_bug,
    }
    middleware = [Middleware(BodyLimit, most=limits.body_bytes, seconds=limits.body_seconds)]
    app = Starlette(
        routes=[*asked, Mount(VERSION_PREFIX, routes=asked), *_pages()], middleware=middleware, exception_handlers=handlers
    )
    app.state.limits, app.state.audit, app.state.counter = limits, audit or Audit(None), Counter(limits.queue)
    return app


def _pages() -> list[BaseRoute]:
    """What people look at, and what is left: nothing that the server's framework would answer in another manner."""
    described = document()
    page = docs_page(described)
    return [
        Route("/openapi.json", lambda _: JSONResponse(described), methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
        Route("/docs", lambda _: HTMLResponse(page), methods=["GET"]),
        Route("/docs/", lambda _: HTMLResponse(page), methods=["GET"]),
        Route("/", lambda _: RedirectResponse("/ui/"), methods=["GET"]),
        Route("/ui", lambda _: RedirectResponse("/ui/"), methods=["GET"]),
        Mount("/ui", StaticFiles(directory=UI, html=True)),
        Route("/{path:path}", _nowhere),
    ]


def _with_pictures(form_type: type[Fields], work: Callable[[Desk, Fields, Pictures], BaseModel]) -> Endpoint:
    """An endpoint that takes pictures and fields as a multipart form."""

    async def endpoint(request: Request) -> Response:
        async with request.form(max_files=_FILES, max_fields=_FIELDS) as form:
            fields, pictures = _validated(form_type, _texts(form)), _pictures(form)
            return await _answer(request, work, fields, pictures)

    return endpoint


async def _remove(request: Request) -> Response:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise TrireidError("the body must be JSON, sent as application/json", "body", "format")  # a foreign page's form cannot
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise TrireidError("the body is not JSON that can be read", "body") from error
    if not isinstance(body, dict):
        raise TrireidError("the body must be a JSON object", "body")
    return await _answer(request, Desk.remove, _validated(RemoveForm, body))


async def _galleries(request: Request) -> Response:
    return _json(await anyio.to_thread.run_sync(Desk.listing, request.app.state.desk))


async def _gallery(request: Request) -> Response:
    return _json(await anyio.to_thread.run_sync(Desk.detail, request.app.state.desk, request.path_params["gallery"]))


async def _picture(request: Request) -> Response:
    gallery, key, modality = (request.path_params[name] for name in ("gallery", "key", "modality"))
    thumbnail = None
    if key.isdecimal() and len(key) <= _KEY_DIGITS:
        thumbnail = await anyio.to_thread.run_sync(request.app.state.desk.thumbnail, gallery, int(key), modality)
    if thumbnail is None:
        raise HTTPException(404, "no such picture")
    return Response(thumbnail, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})


async def _metrics(request: Request) -> Response:
    return Response(await anyio.to_thread.run_sync(request.app.state.metrics.text), media_type=CONTENT_TYPE)


async def _whoami(request: Request) -> Response:
    caller: Caller = request.scope[CALLER]
    return _json(WhoAmI(name=caller.name, scopes=caller.granted, open=caller.name is None))


async def _nowhere(request: Request) -> Response:
    if any(route.matches(request.scope)[0] is Match.PARTIAL for route in request.app.routes):
        raise HTTPException(405, f"{request.method} is not taken here; see /docs/")
    raise HTTPException(404, f"there is nothing at {request.url.path[:100]}; see /docs/")


async def _answer(request: Request, work: Callable[..., BaseModel], *arguments: Any) -> Response:
    """Run the desk's work in a thread, within the queue and the deadline, and answer with what it gives."""
    state = request.app.state
    if not hasattr(state, "limiter"):
        state.limiter = anyio.CapacityLimiter(_THREADS)
    with state.counter.one_more(), deadline(_seconds(request, state.limits.deadline)):
        answer = await anyio.to_thread.run_sync(work, state.desk, *arguments, limiter=state.limiter)
    await _audited(request, arguments[0], answer)
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
        raise TrireidError(f"X-Deadline: must be seconds over 0, not {asked[:40]}", "X-Deadline", "invalid")
    return min(seconds, most)


async def _audited(request: Request, fields: Form, answer: BaseModel) -> None:
    """A line of the audit: who did what. It is on the disk before an enrolment or a removal is answered."""
    caller: Caller | None = request.scope.get(CALLER)
    client = request.client.host if request.client else None
    line: dict[str, Any] = {
        "request": request.scope.get(REQUEST_ID),
        "caller": caller.name if caller else None,
        "client": client,
        "gallery": getattr(answer, "gallery", None) or getattr(fields, "gallery", None),
    }
    changes = isinstance(answer, EnrollAnswer | RemoveAnswer)
    if isinstance(answer, EnrollAnswer):
        line |= {"id": answer.id, "identity": getattr(fields, "identity", None)}
    elif isinstance(answer, RemoveAnswer):
        line |= {**fields.model_dump(include={"ids", "identity"}), "removed": answer.removed}
    elif isinstance(answer, SearchAnswer):
        line |= {"hits": len(answer.hits), **fields.model_dump(include={"k", "where"})}
    audit: Audit = request.app.state.audit
    action = request.url.path.rsplit("/", 1)[-1]
    if changes:
        await anyio.to_thread.run_sync(lambda: audit.write(action, durable=True, **line))
    else:
        audit.write(action, **line)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _texts(form: FormData) -> dict[str, str]:
    """The form's fields that are not pictures. Raises TrireidError for one that comes twice, or as a file."""
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name in MODALITIES:
            continue
        if not isinstance(value, str):
            raise TrireidError(f"{name}: is a field for text, not for a file", name)
        if name in texts:
            raise TrireidError(f"{name}: was sent twice", name)
        texts[name] = value
    return {name: value for name, value in texts.items() if value != ""}


def _pictures(form: FormData) -> Pictures:
    pictures: dict[Any, Any] = {}
    for modality in MODALITIES:
        given = [value for value in form.getlist(modality) if value != ""]
        if len(given) > 1:
            raise PictureError(f"{modality}: was sent twice", modality)
        if given:
            if not isinstance(given[0], UploadFile):
                raise PictureError(f"{modality}: send the picture itself, as a file", modality)
            pictures[modality] = given[0].file
    if not pictures:
        raise PictureError("no picture: send at least one of rgb, nir, tir as a file", "rgb", "missing")
    return pictures


def _validated(form_type: type[Fields], values: dict[str, Any]) -> Fields:
    try:
        return form_type.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        message = first["msg"] if field is None else f"{field}: {first['msg']}"
        raise TrireidError(message, field, "invalid") from error


async def _on_bad_input(request: Request, error: TrireidError) -> Response:
    if error.code == "locked":  # the message names the server's folder
        error = BusyError("another process has been writing to this gallery for long; try again", None, "busy")
    return await _on_bug(request, error) if error.code in INTERNAL else answer_to(error)


async def _on_http_exception(_: Request, error: HTTPException) -> Response:
    return answer_with_status(error.status_code, str(error.detail))


async def _on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    return error_answer(400, "disconnected", "the client hung up", None)


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_answer(500, "internal", "an error of the server; its log has the details", None)
