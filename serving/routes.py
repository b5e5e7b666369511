"""Every operation over HTTP: its path, its scope, its fields and its answer.

The OpenAPI document follows from these routes. Images are taken as bytes and decoded by `samples`;
a URL is never fetched.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import anyio
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from trireid.samples.errors import (
    ForbiddenError,
    InvalidValueError,
    ItemExistsError,
    MediaTypeError,
)
from trireid.serving.access import Principal, Scope
from trireid.serving.access_control import PRINCIPAL, choose_gallery
from trireid.serving.auth_middleware import ROUTE
from trireid.serving.body_limit import limit_body
from trireid.serving.deadline import deadline
from trireid.serving.gallery_service import GalleryService, Images
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
from trireid.serving.schemas import (
    EmbedAnswer,
    EmbedForm,
    EnrollAnswer,
    EnrollForm,
    ErrorAnswer,
    Form,
    GalleriesAnswer,
    GalleryDetail,
    RemoveAnswer,
    RemoveForm,
    SearchAnswer,
    SearchForm,
    WhoAmI,
)
from trireid.serving.settings import ServerSettings

#: Every path is also there with this before it; a version to come will have another.
VERSION_PREFIX: Final = "/v1"
#: Requests at work at the same time: enough that a forward pass finds others to share it with.
_THREADS: Final = 32
_KEY_DIGITS: Final = 18  # a store's keys are 64-bit
_STATUSES: Final = {
    400: "The request makes no sense, or an image is missing or damaged.",
    401: "A token is needed.",
    403: "The token's scopes do not reach this, or the server answers its own machine alone.",
    404: "No such gallery or image.",
    408: "The request took too long to arrive.",
    409: "The gallery is read-only.",
    413: "An image or the request is too large.",
    415: "Not an image, or not of a format that is read.",
    422: "A field's value does not fit, or the field is unknown.",
    429: "Too many requests with this token; see Retry-After.",
    503: "The server is busy, or cannot record the request; see Retry-After.",
    507: "The server's disk is full; nothing was changed.",
}
_JPEG: Final = {"type": "string", "format": "binary"}
_EVERYWHERE: Final = (401, 403, 422, 429)
_OF_BODIES: Final = (400, 404, 408, 413, 415, 503, 507)

Fields = TypeVar("Fields", bound=Form)
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class OperationRoute(APIRoute):
    """A route whose scope is needed to learn that it does not take a method, too."""

    async def handle(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request; raises 405 for another method."""
        scope[ROUTE] = f"/{self.name}"
        methods = self.methods or set()
        if scope["method"] not in methods:
            await authorize(Request(scope), SecurityScopes(self.security_scopes))
            allowed = ", ".join(sorted(methods))
            told = f"{scope['method']} is not taken here, but {allowed}; see /docs/"
            raise HTTPException(405, told, {"Allow": allowed})
        await super().handle(scope, receive, send)

    @property
    def security_scopes(self) -> list[str]:
        """The scope that the route needs; none: any token will do."""
        return [
            scope for each in self.dependencies for scope in getattr(each, "scopes", None) or ()
        ]


async def authorize(request: Request, scopes: SecurityScopes) -> None:
    """Check a request's token. Raises AccessError."""
    needed = Scope(scopes.scopes[0]) if scopes.scopes else None
    request.app.state.access.authorize(request, needed)


async def refuse_parameters(request: Request) -> None:
    """Raise InvalidValueError for a parameter of the URL."""
    unread = next(iter(request.query_params), None)
    if unread is not None:
        raise unknown_field(unread[:100], (), "a parameter of the URL; fields are sent in the body")


router = APIRouter(route_class=OperationRoute)


def _operation(
    path: str,
    summary: str,
    scope: Scope | None,
    *,
    methods: tuple[str, ...] = ("POST",),
    form: type[Form] | None = None,
    body: type[Form] | None = None,
    answer: type[BaseModel] | None = None,
    errors: tuple[int, ...] = (),
    include_in_schema: bool = True,
) -> Callable[[Endpoint], Endpoint]:
    """Decorate an endpoint: `scope` None: any token; `form`: fields that come with images, in a
    multipart form; `body`: of JSON; `answer`: of JSON, or None for a JPEG.
    """
    sent = form or body
    extra: dict[str, Any] = {}
    if sent:
        media = "multipart/form-data" if form else "application/json"
        content = {media: {"schema": {"$ref": f"#/components/schemas/{sent.__name__}"}}}
        extra["requestBody"] = {"required": True, "content": content}
    responses: dict[int | str, Any] = {
        each: {"model": ErrorAnswer, "description": _STATUSES[each]}
        for each in sorted({*errors, *_EVERYWHERE})
    }
    if answer is None:
        responses[200] = {"content": {"image/jpeg": {"schema": _JPEG}}}
    about = answer.__doc__ if answer else "The image."
    route: Callable[[Endpoint], Endpoint] = router.api_route(
        path,
        name=path.split("/")[1],
        summary=summary,
        description=f"Scope: {scope or 'any token'}.",
        methods=[*methods, *(["HEAD"] if "GET" in methods else [])],
        dependencies=[
            Security(authorize, scopes=[scope] if scope else []),
            Depends(refuse_parameters),
        ],
        response_class=JSONResponse if answer else Response,
        response_model=answer,
        response_description=(about or "").split("\n")[0],
        responses=responses,
        openapi_extra=extra,
        include_in_schema=include_in_schema,
    )
    return route


@contextmanager
def _admit(request: Request, most: int) -> Iterator[Request]:
    """Count a request, and bound its body in size and time, while the block runs."""
    settings: ServerSettings = request.app.state.settings
    with request.app.state.admission.admit() as take:
        seconds = settings.body_seconds
        limited = limit_body(request.scope, request.receive, most=most, seconds=seconds, take=take)
        yield Request(request.scope, limited)


def _read_multipart(form_type: type[Fields]) -> Callable[..., AsyncIterator[tuple[Fields, Images]]]:
    """Create the dependency that reads a form's fields and images."""

    async def read(request: Request) -> AsyncIterator[tuple[Fields, Images]]:
        with _admit(request, request.app.state.settings.body_bytes) as admitted:
            async with read_form(admitted) as form:
                fields = validate(form_type, read_texts(form, form_type.model_fields))
                yield fields, read_images(form)

    return read


async def _read_removal(request: Request) -> AsyncIterator[RemoveForm]:
    if media_type(request) != "application/json":
        # a form of another site cannot
        raise MediaTypeError("the body must be JSON, sent as application/json", "body")
    with _admit(request, min(MAX_JSON_BYTES, request.app.state.settings.body_bytes)) as admitted:
        body = await admitted.body()
        yield await anyio.to_thread.run_sync(validate_json, RemoveForm, body)


def _choose(request: Request, scope: Scope, fields: Fields, *, first: bool = False) -> Fields:
    """The fields with the gallery that they are about."""
    name = _choose_name(request, scope, fields.gallery, first=first)  # type: ignore[attr-defined]
    return fields.model_copy(update={"gallery": name})


def _choose_name(request: Request, scope: Scope, name: str | None, *, first: bool = False) -> str:
    served = list(request.app.state.galleries.galleries)
    return choose_gallery(request.scope[PRINCIPAL], scope, served, name, first=first)


@_operation(
    "/search",
    "Who or what is this, and where else was it seen?",
    Scope.SEARCH,
    form=SearchForm,
    answer=SearchAnswer,
    errors=_OF_BODIES,
)
async def search(
    request: Request,
    form: Annotated[tuple[SearchForm, Images], Depends(_read_multipart(SearchForm))],
) -> Response:
    """Search a gallery."""
    fields, images = form
    fields = _choose(request, Scope.SEARCH, fields)
    return await _answer(request, request.app.state.galleries.search, fields, images)


@_operation(
    "/embed",
    "The embedding of one to three images.",
    Scope.SEARCH,
    form=EmbedForm,
    answer=EmbedAnswer,
    errors=_OF_BODIES,
)
async def embed(
    request: Request, form: Annotated[tuple[EmbedForm, Images], Depends(_read_multipart(EmbedForm))]
) -> Response:
    """Embed with a gallery's network."""
    fields, images = form
    fields = _choose(request, Scope.SEARCH, fields, first=True)
    return await _answer(request, request.app.state.galleries.embed, fields, images)


@_operation(
    "/enroll",
    "Add images to a gallery; durable when answered.",
    Scope.ENROLL,
    form=EnrollForm,
    answer=EnrollAnswer,
    errors=(*_OF_BODIES, 409),
)
async def enroll(
    request: Request,
    form: Annotated[tuple[EnrollForm, Images], Depends(_read_multipart(EnrollForm))],
) -> Response:
    """Add an item, or replace it where the token may remove, too."""
    fields, images = form
    fields = _choose(request, Scope.ENROLL, fields)
    principal: Principal = request.scope[PRINCIPAL]
    may_replace = principal.may(Scope.REMOVE, fields.gallery)
    work = partial(request.app.state.galleries.enroll, may_replace=may_replace)
    try:
        return await _answer(request, work, fields, images)
    except ItemExistsError as error:
        needed = f"{error.message}; to replace it needs the scope {Scope.REMOVE}, too"
        raise ForbiddenError(f"{needed}, which the token {principal.name} does not have") from error


@_operation(
    "/remove",
    "Remove items, or an identity, for good.",
    Scope.REMOVE,
    body=RemoveForm,
    answer=RemoveAnswer,
    errors=(*_OF_BODIES, 409),
)
async def remove(
    request: Request, fields: Annotated[RemoveForm, Depends(_read_removal)]
) -> Response:
    """Remove items."""
    fields = _choose(request, Scope.REMOVE, fields)
    return await _answer(request, request.app.state.galleries.remove, fields)


@_operation(
    "/galleries",
    "The galleries that are served.",
    Scope.SEARCH,
    methods=("GET", "POST"),
    answer=GalleriesAnswer,
    errors=(503, 507),
)
async def list_galleries(request: Request) -> Response:
    """List the galleries that the token may search."""
    galleries: GalleryService = request.app.state.galleries
    listing = await anyio.to_thread.run_sync(galleries.list_galleries)
    principal: Principal = request.scope[PRINCIPAL]
    listing.galleries = [
        each for each in listing.galleries if principal.may(Scope.SEARCH, each.name)
    ]
    await RequestAudit(request).record(galleries=[each.name for each in listing.galleries])
    return _json(listing)


GalleryName = Annotated[str, Path(description="The gallery's name.", examples=["people"])]


@_operation(
    "/galleries/{gallery}",
    "One gallery, in numbers.",
    Scope.SEARCH,
    methods=("GET",),
    answer=GalleryDetail,
    errors=(404, 503, 507),
)
async def describe_gallery(request: Request, gallery: GalleryName) -> Response:
    """Count what a gallery holds."""
    name = _choose_name(request, Scope.SEARCH, gallery)
    galleries: GalleryService = request.app.state.galleries
    detail = await anyio.to_thread.run_sync(galleries.describe_gallery, name)
    await RequestAudit(request).record(gallery=name)
    return _json(detail)


async def read_image(
    request: Request,
    gallery: GalleryName,
    key: Annotated[str, Path(description="As in a hit's `images`.", examples=["17"])],
    modality: Annotated[str, Path(description="rgb, nir or tir.", examples=["rgb"])],
) -> Response:
    """Answer with a thumbnail."""
    gallery = _choose_name(request, Scope.SEARCH, gallery)
    galleries: GalleryService = request.app.state.galleries
    thumbnail = None
    if key.isdecimal() and len(key) <= _KEY_DIGITS:
        thumbnail = await anyio.to_thread.run_sync(
            galleries.read_thumbnail, gallery, int(key), modality
        )
    if thumbnail is None:
        raise HTTPException(404, "no such image")
    await RequestAudit(request).record(gallery=gallery, key=int(key), modality=modality)
    headers = {"Cache-Control": "private, no-cache"}
    return Response(thumbnail, headers=headers, media_type="image/jpeg")


# The second path is the one until version 0.2.
for _path in ("/images/{gallery}/{key}/{modality}", "/pictures/{gallery}/{key}/{modality}"):
    _operation(
        _path,
        "A small JPEG of an item, as named by a hit.",
        Scope.SEARCH,
        methods=("GET",),
        errors=(404, 503, 507),
        include_in_schema=_path.startswith("/images"),
    )(read_image)


@_operation("/whoami", "The caller, as the server knows it.", None, methods=("GET",), answer=WhoAmI)
async def whoami(request: Request) -> Response:
    """Tell a caller its scopes."""
    principal: Principal = request.scope[PRINCIPAL]
    return _json(WhoAmI(name=principal.name, scopes=principal.granted, open=principal.name is None))


async def _answer(
    request: Request, work: Callable[..., BaseModel], fields: Form, *images: Images
) -> Response:
    """Run the work in a thread, within the queue and the deadline, record it, and answer with what
    it gives.
    """
    state = request.app.state
    if not hasattr(state, "limiter"):
        state.limiter = anyio.CapacityLimiter(_THREADS)

    async def run() -> BaseModel:
        with deadline(_read_deadline(request, state.settings.deadline)):
            return await anyio.to_thread.run_sync(work, fields, *images, limiter=state.limiter)

    audit, asked = RequestAudit(request), describe_fields(fields)
    if isinstance(fields, EnrollForm | RemoveForm):
        async with audit.record_change(**asked) as result:
            answer = await run()
            result |= describe_answer(answer)
    else:
        answer = await run()
        await audit.record(**asked, **describe_answer(answer))
    return _json(answer)


def _read_deadline(request: Request, most: float) -> float:
    """The request's own deadline, if it asks for less than the server's."""
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
