"""What a search answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.items import Known
from trireid.samples import MODALITIES, Kind, Modality


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer to a query.

    `score`: cosine similarity in [-1, 1] over the modalities that query and item both have;
    `probability`: a calibrated value in [0, 1], None where the gallery's identities do not suffice
    for one; `images`: modality -> where its picture is; `attributes_omitted`: the item has
    attributes that would make the answer too large.
    """

    rank: int
    id: str
    identity: str | None
    score: float
    camera: int | None
    time: str | None
    kind: str | None
    attributes: Mapping[str, Any]
    images: Mapping[str, str]
    probability: float | None = None
    attributes_omitted: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """All that a search says. `kept`: the patches that the network kept of the query's first
    sample, of the modalities that it has: row by row from 0; every one of a network that selects
    none, none at all where a foreign one does not tell. `embedding` float32 [D]: what was compared,
    the mean over the query's samples; columns that none of them has are 0.
    """

    hits: list[Hit]
    kept: dict[Modality, list[int]]
    embedding: NDArray[np.float32]


def hit(gallery: str, item: Known, score: float, kind: Kind | None) -> Hit:
    """The hit for an item, not yet ranked; `kind` is what items without one of their own are."""
    there = [modality for bit, modality in enumerate(MODALITIES) if item.present >> bit & 1]
    return Hit(
        rank=0,
        id=item.id,
        identity=item.identity,
        score=max(-1.0, min(1.0, score)),
        camera=item.camera,
        time=item.time,
        kind=item.kind or kind,
        attributes=item.attributes,
        attributes_omitted=item.attributes_omitted,
        images={
            modality: f"/pictures/{quote(gallery, safe='')}/{item.key}/{modality}"
            for modality in there
        },
    )


def ranked(hits: Iterable[Hit]) -> list[Hit]:
    """The hits numbered from 1, in their order."""
    return [replace(each, rank=rank) for rank, each in enumerate(hits, start=1)]


def first_of_each_identity(hits: Sequence[Hit]) -> list[Hit]:
    """Of each identity the first hit; hits without an identity stand for themselves."""
    seen: set[str] = set()
    chosen = []
    for each in hits:
        if each.identity is None or each.identity not in seen:
            chosen.append(each)
            seen |= {each.identity} if each.identity is not None else set()
    return chosen
