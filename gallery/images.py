"""Images as a gallery keeps them: a reference or its bytes, a thumbnail to show, and a digest to
know it again.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from PIL import Image

from trireid.gallery.items import StoredImage
from trireid.samples import ImageInput, Modality, Sample, pixels
from trireid.samples.decoding import Pixels, Size, describe_field, open_decoded
from trireid.samples.files import read_image_file

THUMBNAIL_SIDE: Final = (
    256  #: no less than the height of a crop in the field, which then needs no resizing
)
_QUALITY: Final = 75
_MUCH_LARGER: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSample(Sample):
    """A sample whose images were read and decoded already, with the results, so that neither is
    done again.

    `content_digest`: what `digest` gives; `stored`: what `make_stored_images` gives.
    """

    content_digest: str
    stored: Sequence[StoredImage]


def prepare(
    sample: Sample, held: Sample, size: Size, *, keep: bool = False, mark: str | None = None
) -> tuple[PreparedSample, Sample]:
    """Decode each of a sample's images once, for the network and for the store.

    Args:
        sample: The sample as it was given.
        held: The same `with_contents`.
        size: Height and width of the network's images, or how they are fitted.
        keep: Hold the images' bytes inside the gallery.
        mark: The digest, if it is known already.

    Returns:
        The sample for the store, and the one for the network, whose images are uint8 arrays [H, W,
        3].

    Raises:
        ImageError: An image cannot be read.
    """
    stored, shown = [], {}
    for modality in sample.present:
        image, shown[str(modality)] = _store_image(modality, sample, held, keep, size)
        stored.append(image)
    known: dict[str, Any] = {each.name: getattr(sample, each.name) for each in fields(Sample)}
    pixels_only: dict[str, Any] = shown
    return PreparedSample(**known, content_digest=mark or digest(held), stored=stored), replace(
        sample, **pixels_only
    )


def with_contents(sample: Sample) -> Sample:
    """The sample with the bytes of its files in their place.

    Raises ImageError where one cannot be read.
    """
    contents: dict[str, Any] = {}
    for modality in sample.present:
        image_input = sample.image(modality)
        if isinstance(image_input, str | os.PathLike):
            contents[modality] = read_image_file(image_input, describe_field(modality, image_input))
    return replace(sample, **contents)


def make_stored_images(sample: Sample, keep: bool) -> Sequence[StoredImage]:
    """A sample's images as the store takes them. `keep`: hold the bytes inside (arrays and images
    as PNG).

    Files are kept by reference to their absolute path in any case. Raises ImageError for an image
    that cannot be read.
    """
    if isinstance(sample, PreparedSample):
        return sample.stored
    held = with_contents(sample)
    return [_store_image(modality, sample, held, keep)[0] for modality in sample.present]


def digest(sample: Sample) -> str:
    """SHA-256 over a sample's images as they were given: equal for exact duplicates, id and
    camera aside.

    Raises ImageError where a file cannot be read.
    """
    if isinstance(sample, PreparedSample):
        return sample.content_digest
    total = hashlib.sha256()
    for modality in sample.present:
        image_input = sample.image(modality)
        assert image_input is not None
        data = _bytes(image_input)
        total.update(f"{modality} {len(data)} ".encode())
        total.update(data)
    return total.hexdigest()


def references(sample: Sample) -> Sequence[StoredImage]:
    """Return where a sample's images are, without thumbnails, for an item that has them already."""
    return [_reference(modality, sample.image(modality)) for modality in sample.present]


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG of at most 256 pixels a side.

    Made for speed: an image much larger is averaged over whole pixels, which leaves 192 to 256 on
    the longer side.
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


def _store_image(
    modality: Modality, sample: Sample, held: Sample, keep: bool, size: Size | None = None
) -> tuple[StoredImage, Pixels | None]:
    """An image as the store takes it, and its pixels in a size, if one is given."""
    given, image_input = sample.image(modality), held.image(modality)
    assert given is not None
    assert image_input is not None
    with open_decoded(image_input, describe_field(modality, given)) as image:
        data = _encode(image_input, image) if keep else None
        stored = replace(_reference(modality, given), thumbnail=thumbnail(image), data=data)
        return stored, None if size is None else pixels(image, size)


def _reference(modality: Modality, image_input: ImageInput | None) -> StoredImage:
    path = os.path.abspath(image_input) if isinstance(image_input, str | os.PathLike) else None
    return StoredImage(modality, b"", path)


def _encode(image_input: ImageInput, image: Image.Image) -> bytes:
    if isinstance(image_input, bytes):
        return image_input
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _bytes(image_input: ImageInput) -> bytes:
    if isinstance(image_input, bytes | str | os.PathLike):
        return read_image_file(image_input)
    array = np.asarray(image_input)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()
