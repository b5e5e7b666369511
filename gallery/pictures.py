"""What a gallery keeps of a picture: a reference or its bytes, a thumbnail to show, and a digest to know it again."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from gallery.items import StoredPicture
from samples import Modality, Picture, Sample, decode

THUMBNAIL_SIDE: Final = 192


def stored_pictures(sample: Sample, keep: bool) -> list[StoredPicture]:
    """A sample's pictures as the store takes them. `keep`: hold the bytes inside (arrays and images as PNG).

    Files are kept by reference to their absolute path in any case. Raises PictureError for a bad picture.
    """
    return [_stored(modality, sample, keep) for modality in sample.present]


def digest(sample: Sample) -> str:
    """SHA-256 over a sample's pictures as they were given: equal for exact duplicates, id and camera aside."""
    total = hashlib.sha256()
    for modality in sample.present:
        picture = sample.picture(modality)
        assert picture is not None
        content = _bytes(picture)
        total.update(f"{modality} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()


def _stored(modality: Modality, sample: Sample, keep: bool) -> StoredPicture:
    picture = sample.picture(modality)
    assert picture is not None
    image = decode(picture, modality)
    path = os.path.abspath(picture) if isinstance(picture, str | os.PathLike) else None
    return StoredPicture(modality, _thumbnail(image), path, _encoded(picture, image) if keep else None)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return out.getvalue()


def _encoded(picture: Picture, image: Image.Image) -> bytes:
    if isinstance(picture, bytes | str | os.PathLike):
        return _bytes(picture)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _bytes(picture: Picture) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    array = np.asarray(picture)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()
