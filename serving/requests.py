"""The requests of a client, as data: each function here makes one request, which any
transport can send.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from trireid.gallery.search_params import SearchParams
from trireid.samples import ImageInput, Sample
from trireid.samples.errors import MissingImageError, TrireidError
from trireid.samples.files import read_image_file
from trireid.serving.schemas import (
    EmbedAnswer,
    EnrollAnswer,
    GalleriesAnswer,
    GalleryDetail,
    RemoveAnswer,
    SearchAnswer,
    WhoAmI,
)

Answer = TypeVar("Answer", bound=BaseModel)
#: Little effort: images are sent once.
_COMPRESSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class ApiRequest(Generic[Answer]):
    """A request, and the model of its answer.

    `repeatable`: to do it twice is the same as to do it once.
    """

    path: str
    answer: type[Answer]
    method: str = "POST"
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    repeatable: bool = True


def embed(sample: Sample, gallery: str | None = None) -> ApiRequest[EmbedAnswer]:
    """The embedding of a sample's images, by the network of `gallery` (default: the server's
    first).
    """
    return ApiRequest(
        path="/embed",
        answer=EmbedAnswer,
        files=_files(sample),
        fields=_fields(gallery=gallery, camera=sample.camera),
    )


def search(
    sample: Sample, gallery: str | None = None, params: SearchParams | None = None, **options: Any
) -> ApiRequest[SearchAnswer]:
    """Find the items that are most like a sample; `params` and `options` are those of
    `Gallery.search`. `gallery` may be left out where one is served.
    """
    texts = SearchParams.merge(params, options).to_texts()
    fields = _fields(gallery=gallery, camera=sample.camera, **texts)
    return ApiRequest(path="/search", answer=SearchAnswer, files=_files(sample), fields=fields)


def enroll(sample: Sample, gallery: str | None = None) -> ApiRequest[EnrollAnswer]:
    """Add a sample, images included; durable when it returns. A sample without an id gets a
    random one here, so that what has to be sent again is the same item.
    """
    fields = _fields(
        gallery=gallery,
        id=uuid.uuid4().hex if sample.id is None else sample.id,
        **{**sample.get_metadata(), "attributes": _json(sample.attributes or None, "attributes")},
    )
    return ApiRequest(path="/enroll", answer=EnrollAnswer, files=_files(sample), fields=fields)


def remove(
    gallery: str | None = None, *, ids: Sequence[str] | None = None, identity: str | None = None
) -> ApiRequest[RemoveAnswer]:
    """Remove items by their ids, or all of an identity, for good. Not sent again where its answer
    was lost: others may have enrolled what it would remove.
    """
    given = {"gallery": gallery, "ids": None if ids is None else list(ids), "identity": identity}
    body = {name: value for name, value in given.items() if value is not None}
    return ApiRequest(path="/remove", answer=RemoveAnswer, body=body, repeatable=False)


def galleries() -> ApiRequest[GalleriesAnswer]:
    """The galleries that are served."""
    return ApiRequest(method="GET", path="/galleries", answer=GalleriesAnswer)


def gallery(name: str) -> ApiRequest[GalleryDetail]:
    """One gallery, in numbers."""
    return ApiRequest(method="GET", path=f"/galleries/{quote(name, safe='')}", answer=GalleryDetail)


def whoami() -> ApiRequest[WhoAmI]:
    """Whom the server takes the caller for."""
    return ApiRequest(method="GET", path="/whoami", answer=WhoAmI)


def _fields(**given: object) -> dict[str, str]:
    fields = {name: value for name, value in given.items() if value is not None}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in fields.items()
    }


def _json(value: Mapping[str, Any] | None, name: str) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TrireidError(f"{name}: cannot be written as JSON: {error}", name) from error


def _files(sample: Sample) -> dict[str, bytes]:
    """The images as files.

    Raises ImageError for one that cannot be read, and without one.
    """
    if not sample.present:
        raise MissingImageError("no image: give at least one of rgb, nir, tir", "rgb")
    images = {str(modality): sample.image(modality) for modality in sample.present}
    return {
        modality: _file(image, modality) for modality, image in images.items() if image is not None
    }


def _file(image: ImageInput, field: str) -> bytes:
    """Send a file as it is, and pixels as PNG, which loses nothing."""
    if isinstance(image, str | PathLike | bytes):
        return read_image_file(image, field)
    from trireid.samples.decoding import decode  # pixels alone need NumPy and Pillow

    out = io.BytesIO()
    decode(image, field).save(out, "PNG", compress_level=_COMPRESSION)
    return out.getvalue()
