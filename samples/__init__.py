"""Samples: the triplet and its metadata, from file names and bytes to pixels.

Nothing here needs torch.
"""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    from trireid.samples.decoding import Batch, decode, pixels, to_batch
    from trireid.samples.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        GalleryError,
        PictureError,
        ServiceError,
        SourceError,
        TrireidError,
        VerificationError,
    )
    from trireid.samples.sample import KINDS, MODALITIES, Kind, Modality, Picture, Sample

__all__ = [
    "KINDS",
    "MODALITIES",
    "ArtifactError",
    "Batch",
    "CheckpointError",
    "ConfigError",
    "GalleryError",
    "Kind",
    "Modality",
    "Picture",
    "PictureError",
    "Sample",
    "ServiceError",
    "SourceError",
    "TrireidError",
    "VerificationError",
    "decode",
    "pixels",
    "to_batch",
]
_MODULES: Final = {
    "ArtifactError": "trireid.samples.errors",
    "Batch": "trireid.samples.decoding",
    "CheckpointError": "trireid.samples.errors",
    "ConfigError": "trireid.samples.errors",
    "GalleryError": "trireid.samples.errors",
    "KINDS": "trireid.samples.sample",
    "Kind": "trireid.samples.sample",
    "MODALITIES": "trireid.samples.sample",
    "Modality": "trireid.samples.sample",
    "Picture": "trireid.samples.sample",
    "PictureError": "trireid.samples.errors",
    "Sample": "trireid.samples.sample",
    "ServiceError": "trireid.samples.errors",
    "SourceError": "trireid.samples.errors",
    "TrireidError": "trireid.samples.errors",
    "VerificationError": "trireid.samples.errors",
    "decode": "trireid.samples.decoding",
    "pixels": "trireid.samples.decoding",
    "to_batch": "trireid.samples.decoding",
}

__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
