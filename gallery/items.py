"""Items of a gallery with their embeddings and images, and how far a reader has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trireid.samples import Modality
from trireid.samples.metadata import ItemMetadata


@dataclass(frozen=True)
class StoredImage:
    """An image of an item:

    `path` of its file or `data`, its bytes, where kept, and a small JPEG to show.
    """

    modality: Modality
    thumbnail: bytes
    path: str | None = None
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Item(ItemMetadata):
    """A sample as it is stored. `embedding` float32 [D]; `digest`: of its images."""

    id: str
    embedding: NDArray[np.float32]
    digest: str
    images: Sequence[StoredImage] = ()


def count_bytes(item: Item) -> int:
    """How many bytes an item's images take in a store."""
    return sum(len(image.thumbnail) + len(image.data or b"") for image in item.images)


@dataclass(frozen=True, kw_only=True)
class ItemRecord(ItemMetadata):
    """A stored item's metadata, without its embedding and images; `present`: its modalities, as a
    mask.
    """

    key: int
    id: str
    present: int
    #: Whether they are over the limit that is set today, and were not read.
    attributes_omitted: bool = False


@dataclass(frozen=True)
class LogPosition:
    """How far into a store's history a reader has seen: keys and removals up to these, of one
    generation of embeddings.
    """

    generation: int = 0
    key: int = 0
    removal: int = 0

    def later_than(self, other: LogPosition) -> bool:
        """Whether this is the later one of two positions in one store's history."""
        return (self.generation, self.key, self.removal) > (
            other.generation,
            other.key,
            other.removal,
        )


@dataclass(frozen=True)
class Added:
    """Some of what was added: keys int64 [n], growing, embeddings float32 [n, D], modalities as
    masks int64 [n].
    """

    keys: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    present: NDArray[np.int64]
