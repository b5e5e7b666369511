"""A sample and its embedding as the gallery stores them."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.filters import check_text, parse_instant
from trireid.gallery.images import digest, make_stored_images
from trireid.gallery.items import Item
from trireid.gallery.limits import check_limits
from trireid.inference.embedder import check_directions
from trireid.samples import Sample
from trireid.samples.errors import GalleryError, GalleryValueError
from trireid.samples.metadata import TEXTS
from trireid.samples.sample import FIELDS
from trireid.samples.text import normalize_sample

_CAMERA_LIMIT: Final = 2**63


def make_item(sample: Sample, embedding: NDArray[np.float32], keep: bool) -> Item:
    """The item that a sample makes, its text in Unicode NFC.

    `embedding`: float32 [D], or [0] for an item whose embedding is known. Raises GalleryError for
    what no store can hold, ImageError for a bad image, and, code `no_direction`, for an
    embedding that is not finite or has length 0.
    """
    if embedding.size:
        check_directions(embedding[None], [sample])
    sample = normalize_sample(sample)
    check_limits(sample)
    camera = None if sample.camera is None else operator.index(sample.camera)
    if camera is not None and not -_CAMERA_LIMIT <= camera < _CAMERA_LIMIT:
        raise GalleryError(f"camera: {camera} is out of range", "camera")
    for name in ("id", *TEXTS):
        if getattr(sample, name) is not None:
            check_text(getattr(sample, name), name)
    if sample.expires is not None and parse_instant(sample.expires) is None:
        raise GalleryValueError(
            f"expires: {sample.expires!r} is not an ISO 8601 time, as in 2027-01-31T12:00:00Z",
            "expires",
        )
    _check_attribute_names(sample.attributes)
    return Item(
        id=uuid.uuid4().hex if sample.id is None else sample.id,
        embedding=embedding,
        digest=digest(sample),
        **{**sample.get_metadata(), "camera": camera},
        images=make_stored_images(sample, keep),
    )


def _check_attribute_names(names: Iterable[str]) -> None:
    """Refuse attributes with a field's name: exported as columns, they would pass for it."""
    for name in names:
        if str(name).strip() in FIELDS:
            raise GalleryValueError(
                f"attributes: {name!r} is the name of a field; give it as the field, or call the"
                " attribute otherwise",
                "attributes",
            )
