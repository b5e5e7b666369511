"""k-reciprocal re-ranking: the neighbours that two images share say more than their distance
alone.

Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017).
The original holds several dense matrices over query and gallery together; here only a block of
distances is held at a time, and the encodings, which have some dozens of entries a row, are sparse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trireid.evaluation.metrics import Floats, normalize

Indices = NDArray[np.int64]
_BLOCK_BYTES = 128 * 2**20


def rerank(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    k1: int = 20,
    k2: int = 6,
    lam: float = 0.3,
) -> Floats:
    """Re-rank a gallery for each query.

    Args:
        query_features: [Q, D], normalised here.
        gallery_features: [G, D], normalised here.
        k1: Size of the reciprocal neighbourhoods, from 1.
        k2: Number of neighbours that an encoding is averaged over, from 1.
        lam: Weight of the original distance (squared Euclidean, over the row's largest), in [0, 1].

    Returns:
        Distances float32 [Q, G], smaller is nearer.

    Raises:
        ValueError: k1, k2 or lam is out of range.
    """
    if k1 < 1 or k2 < 1 or not 0 <= lam <= 1:
        raise ValueError(
            f"k1 and k2 must be at least 1 and lam in [0, 1], not {k1}, {k2} and {lam}"
        )
    queries = normalize(query_features)
    features = np.concatenate([queries, normalize(gallery_features)])
    neighbours = _Neighbours.find(features, max(k1 + 1, k2))
    encodings = _expand(
        [_encode(i, features, neighbours, k1) for i in range(len(features))], neighbours, k2
    )
    return _distances(features, len(queries), neighbours, encodings, lam)


@dataclass(frozen=True)
class _Neighbours:
    """Of every item the nearest ones, itself first, int64 [N, k], and its largest distance [N]."""

    order: Indices
    furthest: Floats

    @classmethod
    def find(cls, features: Floats, k: int) -> _Neighbours:
        count = len(features)
        k = min(k, count)
        order = np.empty((count, k), np.int64)
        furthest = np.empty(count, np.float32)
        for rows, distance in _distance_blocks(features, count):
            furthest[rows] = distance.max(axis=1)
            nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
            ranks = np.argsort(np.take_along_axis(distance, nearest, axis=1), axis=1, kind="stable")
            order[rows] = np.take_along_axis(nearest, ranks, axis=1)
        return cls(order, np.maximum(furthest, np.float32(1e-12)))


@dataclass(frozen=True)
class _Encoding:
    """A sparse row: columns int64 [n] and weights float32 [n], which sum to 1."""

    columns: Indices
    weights: Floats


def _distance_blocks(features: Floats, rows: int) -> Iterator[tuple[slice, Floats]]:
    """Squared Euclidean distances of the first `rows` unit vectors to all, a block at a time."""
    step = max(1, _BLOCK_BYTES // (4 * len(features)))
    for start in range(0, rows, step):
        block = slice(start, min(rows, start + step))
        yield block, np.maximum(2 - 2 * (features[block] @ features.T), 0)


def _reciprocal(item: int, order: Indices, k: int) -> Indices:
    """Those of an item's k nearest (and itself) that have it among theirs."""
    forward = order[item, : k + 1]
    found: Indices = forward[(order[forward, : k + 1] == item).any(axis=1)]
    return found


def _encode(item: int, features: Floats, neighbours: _Neighbours, k1: int) -> _Encoding:
    """The item's k-reciprocal set, widened by its members' half-size sets that mostly lie in it,
    weighted by nearness.
    """
    near = _reciprocal(item, neighbours.order, k1)
    parts = [near]
    for candidate in near:
        wider = _reciprocal(int(candidate), neighbours.order, round(k1 / 2))
        if len(np.intersect1d(wider, near)) > 2 / 3 * len(wider):
            parts.append(wider)
    columns = np.unique(np.concatenate(parts))
    distance = (
        np.maximum(2 - 2 * (features[columns] @ features[item]), 0) / neighbours.furthest[item]
    )
    weights = np.exp(-distance)
    return _Encoding(columns, weights / weights.sum())


def _expand(encodings: list[_Encoding], neighbours: _Neighbours, k2: int) -> list[_Encoding]:
    """Each encoding, averaged over the item's k2 nearest."""
    return [_mean([encodings[other] for other in near]) for near in neighbours.order[:, :k2]]


def _mean(encodings: list[_Encoding]) -> _Encoding:
    columns, positions = np.unique(
        np.concatenate([e.columns for e in encodings]), return_inverse=True
    )
    weights = np.bincount(positions, np.concatenate([e.weights for e in encodings]))
    return _Encoding(columns, (weights / len(encodings)).astype(np.float32))


def _distances(
    features: Floats, queries: int, neighbours: _Neighbours, encodings: list[_Encoding], lam: float
) -> Floats:
    """Jaccard distance of the encodings, mixed with the original one, from every query to every
    gallery item.
    """
    holders = _Holders.collect(encodings[queries:], len(features))
    out = np.empty((queries, len(features) - queries), np.float32)
    for rows, distance in _distance_blocks(features, queries):
        original = distance[:, queries:] / neighbours.furthest[rows, None]
        out[rows] = lam * original
    for query in range(queries):
        shared = holders.share(encodings[query])
        out[query] += (1 - lam) * (1 - shared / (2 - shared))
    return out


@dataclass(frozen=True)
class _Holders:
    """The gallery's encodings by column:

    `items` and `weights` of column c stand at `starts[c]:starts[c + 1]`.
    """

    items: Indices
    weights: Floats
    starts: Indices
    count: int

    @classmethod
    def collect(cls, encodings: list[_Encoding], columns: int) -> _Holders:
        flat = np.concatenate([e.columns for e in encodings])
        items = np.repeat(np.arange(len(encodings)), [len(e.columns) for e in encodings])
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(columns + 1))
        return cls(
            items[order],
            np.concatenate([e.weights for e in encodings])[order],
            starts,
            len(encodings),
        )

    def share(self, encoding: _Encoding) -> Floats:
        """Sum over the columns of the smaller weight, with each item: float32 [G]."""
        total = np.zeros(self.count, np.float32)
        for column, weight in zip(encoding.columns, encoding.weights, strict=True):
            part = slice(self.starts[column], self.starts[column + 1])
            total[self.items[part]] += np.minimum(weight, self.weights[part])
        return total
