"""The fields of requests and answers, for HTTP, OpenAPI and the client.

Names are the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any, Self, get_type_hints
from urllib.parse import quote

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    Json,
    computed_field,
    create_model,
    model_validator,
)

from trireid.gallery.search_params import SearchParams
from trireid.samples import Kind, TrireidError
from trireid.samples.distinct_json import parse_distinct
from trireid.samples.metadata import ItemMetadata

if TYPE_CHECKING:
    from trireid.gallery import Hit

_INT64 = 2**63


def _check_distinct(text: Any) -> Any:
    """Raise TrireidError, a ValueError, for JSON that names a key twice; other errors are `Json`'s
    to tell.
    """
    try:
        parse_distinct(text)
    except TrireidError:
        raise
    except (TypeError, ValueError, RecursionError):
        pass
    return text


JsonObject = Annotated[Json[dict[str, Any]], BeforeValidator(_check_distinct)]
#: Ids in one request.
MAX_IDS = 10_000
Camera = Annotated[int, Field(ge=-_INT64, lt=_INT64)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]

_GALLERY = Field(
    None,
    description="The gallery's name; may be left out where one is served.",
    examples=["people"],
)
_CAMERA = Field(None, description="The camera that took the images, 0-based.", examples=[2])
_PRESENT = Field(
    description="The modalities that were sent, in the order rgb, nir, tir.",
    examples=[["rgb", "tir"]],
)
_MODEL = Field(description="The network's name.", examples=["trireid-default-person"])
_IDENTITY = Field(None, description="Whom or what the images show.", examples=["Ann"])
_TIME = Field(
    None,
    description="When the images were taken: ISO 8601; UTC where it has no offset.",
    examples=["2026-01-31T12:00:00Z"],
)
_KIND = Field(None, description="Person or vehicle.", examples=["person"])

_PENDING = Field(
    False,
    description="Whether a file of the gallery may still hold something that was removed or"
    " replaced, because a reader is in the way; it is tried again until it is gone.",
    examples=[False],
)


class Form(BaseModel, frozen=True, extra="forbid"):
    """A request's fields; an unknown one is an error, so that a typing error is noticed."""


class EmbedForm(Form, frozen=True):
    """Fields of `/embed`; the images come in addition.

    `gallery` says whose network embeds; the first one's where left out.
    """

    gallery: Text | None = _GALLERY
    camera: Camera | None = _CAMERA


class SearchForm(SearchParams, EmbedForm, frozen=True):
    """Fields of `/search`; the images come in addition."""


#: The types of metadata in forms.
_FORM_TYPES: dict[Any, Any] = {
    str | None: Text | None,
    int | None: Camera | None,
    Mapping[str, Any]: JsonObject,
}


def _make_metadata_form() -> type[EmbedForm]:
    """Make a form of the fields of `ItemMetadata`."""
    types, described = get_type_hints(ItemMetadata), dict[str, Any]()
    for each in fields(ItemMetadata):
        default: dict[str, Any] = {"default": each.default}
        if each.default is MISSING:
            default = {"default_factory": each.default_factory}
        about = Field(**default, **each.metadata)
        described[each.name] = _FORM_TYPES.get(types[each.name], types[each.name]), about
    return create_model("_MetadataForm", __base__=EmbedForm, **described)


if TYPE_CHECKING:
    _MetadataForm = EmbedForm
else:
    _MetadataForm = _make_metadata_form()


class EnrollForm(_MetadataForm, frozen=True):
    """Fields of `/enroll`; the images come in addition: an id, and those of `ItemMetadata`."""

    id: Text | None = Field(
        None,
        description="The item's id; one that is there is replaced. Default: a random one.",
        examples=["a1"],
    )


class RemoveForm(Form, frozen=True):
    """The JSON body of `/remove`: ids, or an identity."""

    gallery: Text | None = _GALLERY
    ids: Annotated[list[Text], Field(max_length=MAX_IDS, fail_fast=True)] | None = Field(
        None, description="The items to remove.", examples=[["a1", "a2"]]
    )
    identity: Text | None = Field(None, description="Remove all of this identity.", examples=[None])

    @model_validator(mode="after")
    def _one_of_both(self) -> RemoveForm:
        if (self.ids is None) == (self.identity is None):
            raise ValueError("give either ids or identity")
        return self


class EmbedAnswer(BaseModel):
    """An embedding."""

    embedding: list[float] = Field(
        description="float [dim], of length 1.", examples=[[0.12, -0.03]]
    )
    dim: int = Field(description="How many numbers an embedding has.", examples=[768])
    model: str = _MODEL
    present: list[str] = _PRESENT


class HitAnswer(BaseModel):
    """One hit."""

    rank: int = Field(description="1 is the best.", examples=[1])
    id: str = Field(description="The item's id.", examples=["a1"])
    identity: str | None = _IDENTITY
    score: float = Field(
        description="Cosine similarity, -1 to 1, over the modalities that query and item have.",
        examples=[0.93],
    )
    probability: float | None = Field(
        None,
        description="Calibrated, 0 to 1; null where the gallery's identities do not suffice.",
        examples=[0.88],
    )
    camera: int | None = _CAMERA
    time: str | None = _TIME
    kind: str | None = _KIND
    attributes: dict[str, Any] = Field(
        description="Further attributes.", examples=[{"coat": "red"}]
    )
    attributes_omitted: bool = Field(
        False,
        description="Whether its attributes were left out, for the answer would be too large.",
        examples=[False],
    )
    images: dict[str, str] = Field(
        description="Modality: path of its small JPEG on this server.",
        examples=[{"rgb": "/images/people/17/rgb"}],
    )

    @classmethod
    def from_hit(cls, gallery: str, hit: Hit) -> Self:
        """Return the answer for a hit in a gallery, with the paths of its images."""
        path = f"/images/{quote(gallery, safe='')}/{hit.key}"
        images = {str(modality): f"{path}/{modality}" for modality in hit.present}
        known = {name: value for name, value in vars(hit).items() if name in cls.model_fields}
        return cls(**known, images=images)


class SearchAnswer(BaseModel):
    """Hits, best first, and what the network looked at."""

    gallery: str = Field(description="The gallery that was searched.", examples=["people"])
    model: str = _MODEL
    present: list[str] = _PRESENT
    hits: list[HitAnswer] = Field(description="Best first.")
    selected_patches: dict[str, list[int]] = Field(
        description="Modality: patches of the query that the network selected, row by row.",
        examples=[{"rgb": [3, 4, 11]}],
    )
    grid: tuple[int, int] | None = Field(
        description="Rows and columns of patches; null where the network does not say.",
        examples=[[16, 8]],
    )
    image_size: tuple[int, int] = Field(
        description="Height and width that images are brought to.", examples=[[256, 128]]
    )
    timings: dict[str, float] = Field(
        description="Milliseconds spent: decode, embed (waiting for its turn included), search.",
        examples=[{"decode": 2.1, "embed": 8.4, "search": 1.2}],
    )

    @computed_field(
        description="Use `selected_patches`.",
        examples=[{"rgb": [3]}],
        json_schema_extra={"deprecated": True},
    )
    def kept(self) -> dict[str, list[int]]:
        """`selected_patches`, as it was called until version 0.2."""
        return self.selected_patches

    @computed_field(
        description="Use `timings`.",
        examples=[{"decode": 2.1}],
        json_schema_extra={"deprecated": True},
    )
    def stages(self) -> dict[str, float]:
        """`timings`, as it was called until version 0.2."""
        return self.timings


class EnrollAnswer(BaseModel):
    """The enrolled item; it is durable."""

    id: str = Field(description="The item's id.", examples=["a1"])


class RemoveAnswer(BaseModel):
    """The number of items that were removed: no search finds them any more."""

    removed: int = Field(description="How many items.", examples=[2])
    pending: bool = _PENDING


class GalleryAnswer(BaseModel):
    """One gallery that is served."""

    name: str = Field(description="The name that requests use.", examples=["people"])
    size: int = Field(description="How many items it holds.", examples=[1200])
    model: str = _MODEL
    kind: Kind | None = Field(
        None, description="The kind that its network is for.", examples=["person"]
    )
    dimension: int = Field(description="How many numbers an embedding has.", examples=[768])
    demo_network: bool = Field(
        False,
        description="Whether its network is an embedded one, which is for demonstration.",
        examples=[False],
    )


class GalleriesAnswer(BaseModel):
    """The galleries that are served."""

    galleries: list[GalleryAnswer] = Field(
        description="In the order in which the server was given them."
    )


class CameraCount(BaseModel):
    """How many items one camera took."""

    camera: int | None = _CAMERA
    items: int = Field(description="How many items.", examples=[300])


class DayCount(BaseModel):
    """How many items were taken on one day (UTC)."""

    day: str = Field(description="ISO 8601.", examples=["2026-01-31"])
    items: int = Field(description="How many items.", examples=[40])


class GalleryDetail(GalleryAnswer):
    """One gallery, in numbers."""

    identities: int = Field(description="How many identities its items have.", examples=[150])
    by_camera: list[CameraCount] = Field(description="Items of each camera; null: not known.")
    by_day: list[DayCount] = Field(description="Items of each day, where the time is known.")
    by_kind: dict[str, int] = Field(description="Items of each kind.", examples=[{"person": 1200}])
    by_modalities: dict[str, int] = Field(
        description="Items with each set of modalities.", examples=[{"rgb+nir+tir": 1200}]
    )
    keep_days: float | None = Field(
        None,
        description="For how many days items are kept; null: until they are removed.",
        examples=[30.0],
    )
    erasure_pending: bool = _PENDING


class WhoAmI(BaseModel):
    """The caller, as the server knows it."""

    name: str | None = Field(
        description="The token's name; null where the server is open.", examples=["desk 3"]
    )
    scopes: list[str] = Field(
        description="The scopes of the caller.", examples=[["search", "enroll"]]
    )
    open: bool = Field(description="Whether the server asks no one for a token.", examples=[False])


class Error(BaseModel):
    """An error."""

    code: str = Field(description="For programs.", examples=["format"])
    message: str = Field(
        description="For people: one line.",
        examples=["nir: not an image that is read; send JPEG, PNG, WEBP, BMP, TIFF"],
    )
    field: str | None = Field(
        None, description="The field that is wrong, if it is one.", examples=["nir"]
    )


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: Error
