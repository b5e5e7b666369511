"""Samples: the triplet and what is known of it, from file names and bytes to pixels. Nothing here needs torch."""

from samples.decode import Batch, decode, pixels, to_batch
from samples.errors import (
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
from samples.sample import KINDS, MODALITIES, Kind, Modality, Picture, Sample

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
