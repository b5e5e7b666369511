"""What requests may say and what answers hold. Field names are the contract."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Json, model_validator

from gallery import MAX_K
from samples import Kind

_INT64 = 2**63
Camera = Annotated[int, Field(ge=-_INT64, lt=_INT64)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Form(BaseModel):
    """A request's fields; one that nobody reads is an error, so that a slip of the pen is noticed."""

    model_config = ConfigDict(extra="forbid")


class EmbedForm(Form):
    """Fields of `/embed` beside the pictures. `gallery` says whose network embeds; the first one's where left out."""

    gallery: Text | None = None
    camera: Camera | None = None


class SearchForm(EmbedForm):
    """Fields of `/search` beside the pictures."""

    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    where: Json[dict[str, Any]] | None = None
    other_cameras: bool = False
    rerank: bool = False
    by_identity: bool = False
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None


class EnrollForm(EmbedForm):
    """Fields of `/enroll` beside the pictures."""

    id: Text | None = None
    identity: Text | None = None
    time: Text | None = None
    kind: Kind | None = None
    attributes: Json[dict[str, Any]] = Field(default_factory=dict)


class RemoveForm(Form):
    """The JSON body of `/remove`: ids, or an identity."""

    gallery: Text | None = None
    ids: list[Text] | None = None
    identity: Text | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RemoveForm:
        if (self.ids is None) == (self.identity is None):
            raise ValueError("give either ids or identity")
        return self


class EmbedAnswer(BaseModel):
    """`embedding` float [dim], L2-normalised; `present`: the modalities that were sent."""

    embedding: list[float]
    dim: int
    model: str
    present: list[str]


class HitAnswer(BaseModel):
    """One hit.

    `score`: cosine similarity in [-1, 1] over the modalities that query and item both have; `probability`: a calibrated value
    in [0, 1], null where the gallery's identities do not suffice for one; `images`: modality -> path of its picture on this
    server.
    """

    rank: int
    id: str
    identity: str | None
    score: float
    probability: float | None
    camera: int | None
    time: str | None
    kind: str | None
    attributes: dict[str, Any]
    images: dict[str, str]


class SearchAnswer(BaseModel):
    """Hits, best first."""

    gallery: str
    model: str
    present: list[str]
    hits: list[HitAnswer]


class EnrollAnswer(BaseModel):
    """The enrolled item's id; it is durable."""

    id: str


class RemoveAnswer(BaseModel):
    """How many items were removed."""

    removed: int


class GalleryAnswer(BaseModel):
    """One gallery that is served. `size`: its items."""

    name: str
    size: int
    model: str
    kind: Kind | None
    dimension: int


class GalleriesAnswer(BaseModel):
    """The galleries that are served."""

    galleries: list[GalleryAnswer]


class Error(BaseModel):
    """What was wrong: a `code` for programs, a `message` for people, the `field` at fault where there is one."""

    code: str
    message: str
    field: str | None = None


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: Error
