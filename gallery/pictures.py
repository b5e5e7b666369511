"""What a gallery keeps of a picture: a reference or its bytes, a thumbnail to show, and a digest to know it again."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from gallery.items import StoredPicture
from samples import Modality, Picture, Sample, decode
from samples.decode import content

THUMBNAIL_SIDE: Final = 256  #: no less than the height of a crop in the field, which then needs no resizing
_QUALITY: Final = 75
_MUCH_LARGER: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSample(Sample):
    """A sample whose pictures were read and decoded already, with what came of it, so that neither is done again.

    `content_digest`: what `digest` gives; `stored`: what `stored_pictures` gives where no bytes are kept inside.
    """

    content_digest: str
    stored: Sequence[StoredPicture]


def stored_pictures(sample: Sample, keep: bool) -> Sequence[StoredPicture]:
    """A sample's pictures as the store takes them. `keep`: hold the bytes inside (arrays and images as PNG).

    Files are kept by reference to their absolute path in any case. Raises PictureError for a bad picture.
    """
    if isinstance(sample, PreparedSample) and not keep:
        return sample.stored
    return [_stored(modality, sample, keep) for modality in sample.present]


def digest(sample: Sample) -> str:
    """SHA-256 over a sample's pictures as they were given: equal for exact duplicates, id and camera aside.

    Raises PictureError where a file cannot be read.
    """
    if isinstance(sample, PreparedSample):
        return sample.content_digest
    total = hashlib.sha256()
    for modality in sample.present:
        picture = sample.picture(modality)
        assert picture is not None
        data = _bytes(picture)
        total.update(f"{modality} {len(data)} ".encode())
        total.update(data)
    return total.hexdigest()


def reference(modality: Modality, picture: Picture) -> StoredPicture:
    """Return where a picture is, without a thumbnail, for an item that has one already."""
    return StoredPicture(modality, b"", os.path.abspath(picture) if isinstance(picture, str | os.PathLike) else None)


def stored_by_reference(modality: Modality, picture: Picture, image: Image.Image) -> StoredPicture:
    """A picture as the store takes it, with `image`, what it decodes to: a thumbnail, and of a file its absolute path."""
    path = os.path.abspath(picture) if isinstance(picture, str | os.PathLike) else None
    return StoredPicture(modality, thumbnail(image), path)


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG of at most 256 pixels a side.

    Made for speed: a picture much larger is averaged over whole pixels, which leaves 192 to 256 on the longer side.
    """
    side = max(image.size)
    if side > _MUCH_LARGER * THUMBNAIL_SIDE:
        image = image.reduce(-(-side // THUMBNAIL_SIDE))
    elif side > THUMBNAIL_SIDE:
        width, height = (max(1, round(THUMBNAIL_SIDE * length / side)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _stored(modality: Modality, sample: Sample, keep: bool) -> StoredPicture:
    picture = sample.picture(modality)
    assert picture is not None
    image = decode(picture, modality)
    stored = stored_by_reference(modality, picture, image)
    return StoredPicture(modality, stored.thumbnail, stored.path, _encoded(picture, image)) if keep else stored


def _encoded(picture: Picture, image: Image.Image) -> bytes:
    if isinstance(picture, bytes | str | os.PathLike):
        return content(picture)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _bytes(picture: Picture) -> bytes:
    if isinstance(picture, bytes | str | os.PathLike):
        return content(picture)
    array = np.asarray(picture)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()
