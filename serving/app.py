"""The HTTP face: reads requests, calls the desk in a worker thread, and gives every fault its status and one clear line.

Pictures are taken as bytes and decoded by `samples`; a URL is never fetched.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from samples import MODALITIES, PictureError, TrireidError
from serving.body_limit import BodyLimit
from serving.desk import Desk, Pictures
from serving.schemas import EmbedForm, EnrollForm, Error, ErrorAnswer, Form, RemoveForm, SearchForm

_KEY_DIGITS: Final = 18  # a store's keys are 64-bit
MAX_BODY: Final = 64 * 2**20
_STATUS: Final = {"format": 415, "too_large": 413, "unknown_gallery": 404, "invalid": 422}
_CODES: Final = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "format"}
_log = logging.getLogger("trireid.serving")

Fields = TypeVar("Fields", bound=Form)
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app() -> Starlette:
    """The application; its `state.desk` must be set before the first request."""
    routes = [
        Route("/embed", _with_pictures(EmbedForm, Desk.embed), methods=["POST"]),
        Route("/search", _with_pictures(SearchForm, Desk.search), methods=["POST"]),
        Route("/enroll", _with_pictures(EnrollForm, Desk.enroll), methods=["POST"]),
        Route("/remove", _remove, methods=["POST"]),
        Route("/galleries", _galleries, methods=["GET", "POST"]),
        Route("/pictures/{gallery}/{key}/{modality}", _picture, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {
        TrireidError: _on_bad_input,
        HTTPException: _on_http_exception,
        ClientDisconnect: _on_disconnect,
        Exception: _on_bug,
    }
    return Starlette(routes=routes, middleware=[Middleware(BodyLimit, most=MAX_BODY)], exception_handlers=handlers)


def _with_pictures(form_type: type[Fields], work: Callable[[Desk, Fields, Pictures], BaseModel]) -> Endpoint:
    """An endpoint that takes pictures and fields as a multipart form."""

    async def endpoint(request: Request) -> Response:
        async with request.form(max_files=8, max_fields=32) as form:
            fields = _validated(form_type, _texts(form))
            pictures = await _pictures(form)
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
    return await _answer(request, Desk.listing)


async def _picture(request: Request) -> Response:
    gallery, key, modality = (request.path_params[name] for name in ("gallery", "key", "modality"))
    thumbnail = None
    if key.isdecimal() and len(key) <= _KEY_DIGITS:
        thumbnail = await anyio.to_thread.run_sync(request.app.state.desk.thumbnail, gallery, int(key), modality)
    if thumbnail is None:
        raise HTTPException(404, "no such picture")
    return Response(thumbnail, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})


async def _answer(request: Request, work: Callable[..., BaseModel], *arguments: Any) -> Response:
    """Run the desk's work in a thread, as many at once as there are cores, and answer with what it gives."""
    state = request.app.state
    if not hasattr(state, "limiter"):
        state.limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
    answer = await anyio.to_thread.run_sync(work, state.desk, *arguments, limiter=state.limiter)
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


async def _pictures(form: FormData) -> Pictures:
    pictures: Pictures = {}
    for modality in MODALITIES:
        given = [value for value in form.getlist(modality) if value != ""]
        if len(given) > 1:
            raise PictureError(f"{modality}: was sent twice", modality)
        if given:
            if not isinstance(given[0], UploadFile):
                raise PictureError(f"{modality}: send the picture itself, as a file", modality)
            pictures[modality] = await given[0].read()
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
    if error.code in ("store", "device"):  # the disk's, the GPU's or our fault, and the message names the server's folders
        return await _on_bug(request, error)
    return _error(_STATUS.get(error.code, 400), error.code, error.message, error.field)


async def _on_http_exception(_: Request, error: HTTPException) -> Response:
    return _error(error.status_code, _CODES.get(error.status_code, "error"), str(error.detail), None)


async def _on_disconnect(_: Request, __: ClientDisconnect) -> Response:
    return _error(400, "disconnected", "the client hung up", None)


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, "internal", "an error of the server; its log has the details", None)


def _error(status: int, code: str, message: str, field: str | None) -> JSONResponse:
    return JSONResponse(ErrorAnswer(error=Error(code=code, message=message, field=field)).model_dump(), status)
