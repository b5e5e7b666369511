"""The hits of a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.items import ItemRecord
from trireid.samples import MODALITIES, Kind, Modality


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An item that a search found.

    `key`: the store's number of the item, which no other item ever gets: `Gallery.image` takes it;
    `score`: cosine similarity in [-1, 1] over the modalities that query and item both have;
    `probability`: a calibrated value in [0, 1], None if the gallery's identities do not suffice
    for one; `present`: the modalities that the item has an image of; `attributes_omitted`: the item
    has attributes that would make the answer too large.
    """

    rank: int
    key: int
    id: str
    identity: str | None
    score: float
    camera: int | None
    time: str | None
    kind: str | None
    attributes: Mapping[str, Any]
    present: tuple[Modality, ...]
    probability: float | None = None
    attributes_omitted: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """The hits of a search, and what the network made of the query.

    `selected_patches`: of the query's first sample, the patches that the network selected for each
    modality: row by row from 0; all patches for a network that selects none, nothing for an
    external one that does not tell. `embedding` float32 [D]: the mean over the query's samples,
    which was compared; columns that none of them has are 0.
    """

    hits: list[Hit]
    selected_patches: dict[Modality, list[int]]
    embedding: NDArray[np.float32]


def make_hit(item: ItemRecord, score: float, kind: Kind | None) -> Hit:
    """Return the hit for an item, not yet ranked; `kind`: of items that have none of their own."""
    return Hit(
        rank=0,
        key=item.key,
        id=item.id,
        identity=item.identity,
        score=max(-1.0, min(1.0, score)),
        camera=item.camera,
        time=item.time,
        kind=item.kind or kind,
        attributes=item.attributes,
        attributes_omitted=item.attributes_omitted,
        present=tuple(name for bit, name in enumerate(MODALITIES) if item.present >> bit & 1),
    )


def number_hits(hits: Iterable[Hit]) -> list[Hit]:
    """Return the hits numbered from 1, in their order."""
    return [replace(each, rank=rank) for rank, each in enumerate(hits, start=1)]


def select_best_of_identities(hits: Sequence[Hit]) -> list[Hit]:
    """Return the first hit of each identity; hits without an identity stand for themselves."""
    seen: set[str] = set()
    chosen = []
    for each in hits:
        if each.identity is None or each.identity not in seen:
            chosen.append(each)
        if each.identity is not None:
            seen.add(each.identity)
    return chosen
