"""Search over what a query and the items share: the segments of the modalities that both have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import IndexSnapshot, Keys
from trireid.gallery.scoring import Floats, Segments

#: The embeddings [n, D] as they were made of items by their keys; NaN if a key is gone.
LoadEmbeddings = Callable[[Keys], Floats]
#: A shortlist that is rescored is this many times as long as asked for, and so much longer.
WIDER, LONGER = 4, 64
#: Items that a query is compared with, if its hits share different segments with it.
_BACKGROUND: Final = 256
_FEW: Final = 32
_LEAST_DEVIATION: Final = 1e-6
_SUBSETS: Final = range(1, 8)
_NONE: Final = (np.empty(0, np.float32), np.empty(0, np.int64))


@dataclass(frozen=True)
class ModalitySearch:
    """Searches a snapshot, whose tags are the items' modalities as masks.

    The snapshot holds embeddings without the segments their samples lack, of unit length.
    """

    snapshot: IndexSnapshot
    segments: Segments
    load: LoadEmbeddings

    def search(
        self, query: Floats, mask: int, k: int, include: Keys | None, exclude: Keys | None
    ) -> tuple[Floats, Keys]:
        """Find the k best items for a query.

        Items are compared over the segments that both have; an item that shares none is not found.
        If items share different segments with the query, cosines of the one kind mean something
        else than those of the other: they are ranked by how far each stands out among its own kind
        (see docs/gallery.md), and are not in the order of their scores.

        Args:
            query: An embedding, float32 [D].
            mask: The modalities that the query has.
            k: How many items.
            include: Only these keys may be found; None for all.
            exclude: These keys may not be found; None for none.

        Returns:
            Scores and keys, best first.
        """
        groups = self._group(mask)
        if not groups:
            return _NONE
        found = [self._search_group(query, mask, each, k, include, exclude) for each in groups]
        scores, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
        standing = scores
        if len(groups) > 1:
            parts = zip(groups, found, strict=True)
            standing = np.concatenate([self._rate(query, mask, g, part[0]) for g, part in parts])
        best = np.argsort(-standing, kind="stable")[:k]
        return scores[best], keys[best]

    def _group(self, mask: int) -> list[tuple[int, ...]]:
        """The subsets of modalities that items have, together if the query shares the same segments
        with them.
        """
        groups: dict[bytes, list[int]] = {}
        for subset in self.snapshot.count_by_tag:
            shared = self.segments.columns(subset) & self.segments.columns(mask)
            if shared.any():
                groups.setdefault(shared.tobytes(), []).append(subset)
        return [tuple(group) for group in groups.values()]

    def _search_group(
        self,
        query: Floats,
        mask: int,
        subsets: tuple[int, ...],
        k: int,
        include: Keys | None,
        exclude: Keys | None,
    ) -> tuple[Floats, Keys]:
        """The best among the items of one group."""
        if set(subsets) != set(self.snapshot.count_by_tag):
            members = self.snapshot.keys_with(subsets)
            include = members if include is None else np.intersect1d(members, include, True)
        columns = self.segments.columns(mask) & self.segments.columns(subsets[0])
        reduced = np.where(columns, query, np.float32(0))
        length = float(np.linalg.norm(reduced))
        if length == 0:
            return _NONE
        is_exact = all((self.segments.columns(subset) == columns).all() for subset in subsets)
        wanted = k if is_exact else WIDER * k + LONGER
        unit = (reduced / np.float32(length))[None].astype(np.float32)
        scores, keys = self.snapshot.search(
            unit, wanted, include, exclude=exclude, rescore=self._load_reduced
        )
        scores, keys = scores[keys >= 0], keys[keys >= 0]
        if is_exact or not len(keys):
            return scores, keys
        vectors = self._load_reduced(keys)
        scores = self.segments.scores(query, mask, vectors, self._masks(keys))
        is_there = np.isfinite(scores)
        return scores[is_there], keys[is_there]

    def _masks(self, keys: Keys) -> NDArray[np.int64]:
        return self.snapshot.tags[keys].astype(np.int64)

    def _load_reduced(self, keys: Keys) -> Floats:
        return self.segments.reduce(self.load(keys), self._masks(keys))

    def _rate(self, query: Floats, mask: int, subsets: tuple[int, ...], scores: Floats) -> Floats:
        """Scores less the mean of the query's scores with items like these, over their deviation.

        If there are few like these, the others that have all that these have stand in for them.
        """
        shared = subsets[0] & mask
        alike = self.snapshot.keys_with(subsets)
        if len(alike) < _FEW:
            alike = self.snapshot.keys_with([each for each in _SUBSETS if each & shared == shared])
        if len(alike) > _BACKGROUND:
            alike = np.random.default_rng(0).choice(alike, _BACKGROUND, replace=False)
        vectors, masks = self.snapshot.vectors(alike), np.full(len(alike), shared)
        background = self.segments.scores(query, mask, vectors, masks)
        deviation = max(float(background.std()), _LEAST_DEVIATION)
        rated: Floats = (scores - background.mean()) / deviation
        return rated
