"""Everything that can be asked over HTTP, in one table: routes, scopes and the OpenAPI document
follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from trireid.serving.access import Scope
from trireid.serving.schemas import (
    EmbedAnswer,
    EmbedForm,
    EnrollAnswer,
    EnrollForm,
    Form,
    GalleriesAnswer,
    GalleryDetail,
    RemoveAnswer,
    RemoveForm,
    SearchAnswer,
    SearchForm,
    WhoAmI,
)

#: Every path is also there with this before it; a version to come will have another.
VERSION_PREFIX: Final = "/v1"
IMAGE_PATH: Final = "/images/{gallery}/{key}/{modality}"
#: Where a request's ASGI scope has the route that it matched, as metrics name it.
ROUTE: Final = "trireid.route"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One path.

    `old_paths`: that it had until version 0.2. `scope`: what a token needs (None: any token).
    `form`: fields that come with images, in a multipart form. `body`: a JSON body. `answer`: JSON,
    or None for a JPEG.
    """

    path: str
    old_paths: tuple[str, ...] = ()
    methods: tuple[str, ...]
    summary: str
    scope: Scope | None
    form: type[Form] | None = None
    body: type[Form] | None = None
    answer: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The path as metrics name it: one name for all paths of an operation."""
        return "/" + self.path.split("/")[1]


_IMAGES: Final = (400, 404, 408, 413, 415, 422, 503, 507)
OPERATIONS: Final = (
    Operation(
        path="/search",
        methods=("POST",),
        summary="Who or what is this, and where else was it seen?",
        scope=Scope.SEARCH,
        form=SearchForm,
        answer=SearchAnswer,
        errors=_IMAGES,
    ),
    Operation(
        path="/embed",
        methods=("POST",),
        summary="The embedding of one to three images.",
        scope=Scope.SEARCH,
        form=EmbedForm,
        answer=EmbedAnswer,
        errors=_IMAGES,
    ),
    Operation(
        path="/enroll",
        methods=("POST",),
        summary="Add images to a gallery; durable when answered.",
        scope=Scope.ENROLL,
        form=EnrollForm,
        answer=EnrollAnswer,
        errors=(*_IMAGES, 409),
    ),
    Operation(
        path="/remove",
        methods=("POST",),
        summary="Remove items, or an identity, for good.",
        scope=Scope.REMOVE,
        body=RemoveForm,
        answer=RemoveAnswer,
        errors=(400, 404, 408, 409, 413, 415, 422, 503, 507),
    ),
    Operation(
        path="/galleries",
        methods=("GET", "POST"),
        summary="The galleries that are served.",
        scope=Scope.SEARCH,
        answer=GalleriesAnswer,
        errors=(503, 507),
    ),
    Operation(
        path="/galleries/{gallery}",
        methods=("GET",),
        summary="One gallery, in numbers.",
        scope=Scope.SEARCH,
        answer=GalleryDetail,
        errors=(404, 503, 507),
    ),
    Operation(
        path=IMAGE_PATH,
        old_paths=("/pictures/{gallery}/{key}/{modality}",),
        methods=("GET",),
        summary="A small JPEG of an item, as named by a hit.",
        scope=Scope.SEARCH,
        errors=(404, 503, 507),
    ),
    Operation(
        path="/whoami",
        methods=("GET",),
        summary="Who the server takes you for.",
        scope=None,
        answer=WhoAmI,
    ),
)
