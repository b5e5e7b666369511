"""Samples: the triplet and its metadata, from file names and bytes to pixels.

Nothing here needs torch.
"""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names
from trireid.samples import errors
from trireid.samples.errors import *  # noqa: F403
from trireid.samples.errors import PictureError as PictureError

if TYPE_CHECKING:
    from trireid.samples.decoding import Batch, decode, pixels, to_batch
    from trireid.samples.metadata import KINDS, ItemMetadata, Kind
    from trireid.samples.sample import MODALITIES, ImageInput, Modality, Sample

__all__ = [
    "KINDS",
    "MODALITIES",
    "Batch",
    "ImageInput",
    "ItemMetadata",
    "Kind",
    "Modality",
    "Sample",
    "decode",
    "pixels",
    "to_batch",
]
__all__ += errors.__all__
_MODULES: Final = {
    "Batch": "trireid.samples.decoding",
    "KINDS": "trireid.samples.metadata",
    "ItemMetadata": "trireid.samples.metadata",
    "Kind": "trireid.samples.metadata",
    "MODALITIES": "trireid.samples.sample",
    "Modality": "trireid.samples.sample",
    "ImageInput": "trireid.samples.sample",
    "Sample": "trireid.samples.sample",
    "decode": "trireid.samples.decoding",
    "pixels": "trireid.samples.decoding",
    "to_batch": "trireid.samples.decoding",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
