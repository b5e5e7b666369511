"""A sample and its embedding as the gallery stores them."""

from __future__ import annotations

import operator
import uuid
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gallery.items import Item
from gallery.pictures import digest, stored_pictures
from gallery.where import checked_text
from samples import GalleryError, Sample

_CAMERA_LIMIT: Final = 2**63


def item_of(sample: Sample, embedding: NDArray[np.float32], keep: bool) -> Item:
    """The item that a sample makes. Raises GalleryError for what no store can hold, PictureError for a bad picture."""
    camera = None if sample.camera is None else operator.index(sample.camera)
    if camera is not None and not -_CAMERA_LIMIT <= camera < _CAMERA_LIMIT:
        raise GalleryError(f"camera: {camera} is out of range", "camera")
    for name in ("id", "identity", "scene", "time"):
        if getattr(sample, name) is not None:
            checked_text(getattr(sample, name), name)
    return Item(
        id=uuid.uuid4().hex if sample.id is None else sample.id,
        embedding=embedding,
        digest=digest(sample),
        identity=sample.identity,
        camera=camera,
        scene=sample.scene,
        time=sample.time,
        kind=sample.kind,
        attributes=sample.attributes,
        pictures=stored_pictures(sample, keep),
    )
