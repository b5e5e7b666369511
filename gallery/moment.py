"""What a process derives from the store, as of one position: the index and the modalities of items.

Nothing of it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import Keys, Seen
from trireid.gallery.items import LogPosition
from trireid.gallery.scoring import Floats, Segments

#: The embeddings [n, D] as they were made of items by their keys; NaN where a key is gone.
Fetch = Callable[[Keys], Floats]
#: A shortlist that is scored again is so many times as long as asked for, and so much longer.
WIDER, LONGER = 4, 64
#: Items that a query's scores are held against where its hits share different segments with it.
_BACKGROUND: Final = 256
_FEW: Final = 32
_LEAST_DEVIATION: Final = 1e-6
_NOTHING: Final = -1
_SUBSETS: Final = range(1, 8)


@dataclass(frozen=True)
class Moment:
    """An index and what else searches need of its items. The index holds embeddings without the
    segments their samples lack, of unit length.
    """

    position: LogPosition
    index: Seen
    segments: Segments
    #: The modalities of each key's item as a mask, 0 where it is gone: uint8 [last key + 1].
    present: NDArray[np.uint8]
    #: How many items have each mask: int64 [8].
    counts: NDArray[np.int64]
    _members: dict[tuple[int, ...], Keys] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.counts[1:].sum())

    def search(
        self,
        query: Floats,
        mask: int,
        k: int,
        passing: Keys | None,
        without: Keys | None,
        fetch: Fetch,
    ) -> tuple[Floats, Keys]:
        """The k best for a query's embedding [D] of the modalities in `mask`: scores and keys, best
        first.

        Items are compared over the segments that both have; an item that shares none is not found.
        Where items share different segments with the query, cosines of the one kind say another
        thing than those of the other: they are ranked by how far each stands out among its own kind
        (see docs/gallery.md), and are not in the order of their scores.
        """
        groups = list(self._groups(mask))
        found = [self._one(query, mask, subsets, k, passing, without, fetch) for subsets in groups]
        if not found:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        scores, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
        standing = scores
        if len(groups) > 1:
            standing = np.concatenate(
                [
                    self._standing(query, mask, each, part)
                    for each, (part, _) in zip(groups, found, strict=True)
                ]
            )
        best = np.argsort(-standing, kind="stable")[:k]
        return scores[best], keys[best]

    def masks(self, keys: Keys) -> NDArray[np.int64]:
        """The modalities of items by their keys, as masks."""
        return self.present[keys].astype(np.int64)

    @property
    def _there(self) -> list[int]:
        """Which subsets of modalities items have."""
        return [subset for subset in _SUBSETS if self.counts[subset]]

    def _groups(self, mask: int) -> Iterator[tuple[int, ...]]:
        """The subsets of modalities that items have, together where a query shares the same
        segments with them.
        """
        groups: dict[bytes, list[int]] = {}
        for subset in self._there:
            shared = self.segments.columns(subset) & self.segments.columns(mask)
            if shared.any():
                groups.setdefault(shared.tobytes(), []).append(subset)
        yield from map(tuple, groups.values())

    def _alike(self, subsets: tuple[int, ...]) -> Keys:
        """The keys of the items with these subsets of modalities, growing."""
        if subsets not in self._members:
            self._members[subsets] = np.flatnonzero(np.isin(self.present, subsets))
        return self._members[subsets]

    def _one(
        self,
        query: Floats,
        mask: int,
        subsets: tuple[int, ...],
        k: int,
        passing: Keys | None,
        without: Keys | None,
        fetch: Fetch,
    ) -> tuple[Floats, Keys]:
        """The best among the items with these subsets of modalities, which all share the same
        segments with the query.
        """
        if set(subsets) != set(self._there):
            those = self._alike(subsets)
            passing = (
                those if passing is None else np.intersect1d(those, passing, assume_unique=True)
            )
        columns = self.segments.columns(mask) & self.segments.columns(subsets[0])
        reduced = np.where(columns, query, np.float32(0))
        length = float(np.linalg.norm(reduced))
        if length == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        exact = all((self.segments.columns(subset) == columns).all() for subset in subsets)
        wanted = k if exact else WIDER * k + LONGER
        unit = (reduced / np.float32(length))[None].astype(np.float32)

        def as_held(keys: Keys) -> Floats:
            return self.segments.reduced(fetch(keys), self.masks(keys))

        scores, keys = (
            part[0]
            for part in self.index.search(unit, wanted, passing, without=without, fetch=as_held)
        )
        scores, keys = scores[keys != _NOTHING], keys[keys != _NOTHING]
        if exact or not len(keys):
            return scores, keys
        scores = self.segments.scores(query, mask, as_held(keys), self.masks(keys))
        there = np.isfinite(scores)
        return scores[there], keys[there]

    def _standing(
        self, query: Floats, mask: int, subsets: tuple[int, ...], scores: Floats
    ) -> Floats:
        """Scores less the mean of the query's scores with items like these, over their deviation.

        Where there are few like these, the others that have all that these have stand in for them.
        """
        shared = subsets[0] & mask
        alike = self._alike(subsets)
        if len(alike) < _FEW:
            alike = self._alike(tuple(subset for subset in _SUBSETS if subset & shared == shared))
        draw = np.random.default_rng(0)
        drawn = (
            alike if len(alike) <= _BACKGROUND else draw.choice(alike, _BACKGROUND, replace=False)
        )
        background = self.segments.scores(
            query, mask, self.index.vectors(drawn), np.full(len(drawn), shared)
        )
        standing: Floats = (scores - background.mean()) / max(
            float(background.std()), _LEAST_DEVIATION
        )
        return standing
