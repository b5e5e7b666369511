"""mAP and CMC under the camera (or scene) protocol, as the field publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
RANKS = 50
_BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Scores:
    """The scores of a retrieval run, as fractions in [0, 1].

    `mAP`: mean average precision; `cmc` float64 [50]: share of queries with a match among the first
    r + 1 hits (Market-1501's single-match form); `mINP`: mean inverse negative penalty, matches
    over the rank of the last (Ye et al., "Deep Learning for Person Re-identification: A Survey and
    Outlook", 2021); `queries`: how many queries had a match left and were counted.
    """

    mAP: float  # noqa: N815 - the field's own spelling
    mINP: float  # noqa: N815
    cmc: NDArray[np.float64]
    queries: int

    @property
    def rank1(self) -> float:
        """CMC at rank 1."""
        return float(self.cmc[0])


def normalize(features: ArrayLike) -> Floats:
    """Scale each row of [N, D] to unit length; a row of zeros stays zero."""
    rows = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.maximum(lengths, np.float32(1e-12))
    return unit


def evaluate(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: Sequence[Any] | NDArray[Any],
    gallery_ids: Sequence[Any] | NDArray[Any],
    query_groups: Sequence[Any] | NDArray[Any],
    gallery_groups: Sequence[Any] | NDArray[Any],
    *,
    other_groups: bool = False,
) -> Scores:
    """Score a retrieval run by mAP, CMC and mINP.

    The group is the camera (Market-1501, RGBNT201, RGBNT100) or the scene (MSVR310): gallery items
    with the query's identity *and* group are dropped. A query with no match left is not counted.
    Average precision is the mean of the precision at each match.

    Args:
        query_features: [Q, D], normalised here.
        gallery_features: [G, D], normalised here.
        query_ids: Identities [Q], of any type.
        gallery_ids: Identities [G].
        query_groups: Cameras or scenes [Q].
        gallery_groups: Cameras or scenes [G].
        other_groups: Drop all gallery items of the query's group, whatever their identity.

    Returns:
        The scores, as fractions.

    Raises:
        ValueError: Lengths disagree, or no query has a match.
    """
    queries, gallery = normalize(query_features), normalize(gallery_features)
    blocks = (
        (block, -(queries[block] @ gallery.T)) for block in _blocks(len(queries), len(gallery))
    )
    labels = query_ids, gallery_ids, query_groups, gallery_groups
    return _score_blocks(blocks, (len(queries), len(gallery)), *labels, other_groups)


def evaluate_distance(
    distance: ArrayLike,
    query_ids: Sequence[Any] | NDArray[Any],
    gallery_ids: Sequence[Any] | NDArray[Any],
    query_groups: Sequence[Any] | NDArray[Any],
    gallery_groups: Sequence[Any] | NDArray[Any],
    *,
    other_groups: bool = False,
) -> Scores:
    """Score as `evaluate` does, from distances [Q, G] (smaller is nearer), as `rerank` gives."""
    matrix = np.asarray(distance, dtype=np.float32)
    blocks = ((block, matrix[block]) for block in _blocks(*matrix.shape))
    return _score_blocks(
        blocks, matrix.shape, query_ids, gallery_ids, query_groups, gallery_groups, other_groups
    )


def _score_blocks(
    blocks: Iterable[tuple[slice, Floats]],
    shape: tuple[int, ...],
    query_ids: Sequence[Any] | NDArray[Any],
    gallery_ids: Sequence[Any] | NDArray[Any],
    query_groups: Sequence[Any] | NDArray[Any],
    gallery_groups: Sequence[Any] | NDArray[Any],
    other_groups: bool,
) -> Scores:
    """Scores from blocks of distances, so that no more than a block is ever held."""
    labels = _Labels.encode(query_ids, gallery_ids), _Labels.encode(query_groups, gallery_groups)
    for name, (left, right) in zip(
        ("identities", "groups"), ((x.query, x.gallery) for x in labels), strict=True
    ):
        if (len(left), len(right)) != shape:
            raise ValueError(
                f"{name} number {len(left)} and {len(right)}, features {shape[0]} and {shape[1]}"
            )
    precisions: list[float] = []
    penalties: list[float] = []
    first_match = np.zeros(RANKS, dtype=np.int64)
    for block, distance in blocks:
        same_id, same_group = (x.query[block, None] == x.gallery[None, :] for x in labels)
        excluded = same_group if other_groups else same_id & same_group
        for row, match, dropped in zip(distance, same_id & ~excluded, excluded, strict=True):
            ranks = _match_ranks(row, match, dropped)
            if len(ranks):
                precisions.append(float(np.mean(np.arange(1, len(ranks) + 1) / (ranks + 1))))
                penalties.append(len(ranks) / float(ranks[-1] + 1))
                if ranks[0] < RANKS:
                    first_match[ranks[0]] += 1
    if not precisions:
        raise ValueError("no query has a match in the gallery outside its own group")
    return Scores(
        float(np.mean(precisions)),
        float(np.mean(penalties)),
        np.cumsum(first_match) / len(precisions),
        len(precisions),
    )


def _match_ranks(
    distance: Floats, match: NDArray[np.bool_], dropped: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The 0-based ranks of a query's matches among the items that are not dropped."""
    order = np.argsort(distance[~dropped], kind="stable")
    return np.flatnonzero(match[~dropped][order])


def _blocks(queries: int, gallery: int) -> Iterator[slice]:
    """Slices of the queries, small enough that a block's score matrix stays bounded whatever the
    gallery's size.
    """
    step = max(1, _BLOCK_BYTES // (4 * max(1, gallery)))
    return (slice(start, start + step) for start in range(0, queries, step))


@dataclass(frozen=True)
class _Labels:
    """Query and gallery labels of any type, as integers that are equal where the labels are."""

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]

    @classmethod
    def encode(
        cls, query: Sequence[Any] | NDArray[Any], gallery: Sequence[Any] | NDArray[Any]
    ) -> _Labels:
        codes: dict[Any, int] = {}
        both = [
            np.array([codes.setdefault(x, len(codes)) for x in np.asarray(s).tolist()], np.int64)
            for s in (query, gallery)
        ]
        return cls(*both)
