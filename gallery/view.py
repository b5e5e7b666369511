"""A view of the store: the index and what else a process derives from it, kept up with what every process commits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export import Card
from gallery.filters import Filters, Keys
from gallery.index import VectorIndex
from gallery.items import Position
from gallery.scoring import Floats, Segments
from gallery.snapshot import load_snapshot
from gallery.store import Store

#: A shortlist that is scored again is so many times as long as asked for, and so much longer.
WIDER, LONGER = 4, 64
#: Items that a query's scores are held against where its hits share different segments with it.
_BACKGROUND: Final = 256
_FEW: Final = 32
_LEAST_DEVIATION: Final = 1e-6
_NOTHING: Final = -1
_SUBSETS: Final = range(1, 8)


class View:
    """The index of one generation of embeddings. Safe for several threads: one catches up, the others go on meanwhile.

    The index holds embeddings without the segments their samples lack, of unit length. `reader`, `lock`: the store to ask while
    searching, and what guards it; the view follows the store through a connection of its own.
    """

    def __init__(self, folder: Path, reader: Store, lock: threading.RLock, card: Card, **options: Any) -> None:
        self.segments = Segments(card)
        self.filters = Filters(reader)
        self._reader, self._lock, self._card = reader, lock, card
        self._catching = threading.Lock()
        self._data_version: int | None = None
        self._present = np.zeros(1024, np.uint8)
        self._members: dict[tuple[int, ...], Keys] = {}
        self._store = Store(folder)
        try:
            start = replace(self._store.position(), key=0)
            options["fetch"] = self._fetch if options.get("memory", "float32") != "float32" else None
            saved = load_snapshot(folder, self._store, card.dimension, **options)
            #: Whether the index was read from its snapshot.
            self.restored = saved is not None
            self.index, self.position = saved or (VectorIndex(card.dimension, **options), start)
            self._mark_present(self.position)
            with self.index.filling():
                self.catch_up(wait=True)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """End the index's background work, and stop following the store. Searches still work."""
        self.index.close()
        with self._catching:
            self._store.close()

    def catch_up(self, *, wait: bool) -> bool:
        """Bring the index to where the store is; False where the gallery moved to another network, or forgot its history.

        Without `wait`, nothing is done while another thread is at it already.
        """
        if not self._catching.acquire(blocking=wait):
            return True
        try:
            version = self._store.data_version()
            if version == self._data_version:
                return True
            with self._store.transaction("DEFERRED"):
                now = self._store.position()
                if now.generation != self.position.generation or not self._store.reaches(self.position):
                    return False
                self._take(now)
            self._data_version = version
        finally:
            self._catching.release()
        return True

    def search(self, query: Floats, mask: int, k: int, passing: Keys | None, without: Keys | None) -> tuple[Floats, Keys]:
        """The k best for a query's embedding [D] of the modalities in `mask`: scores and keys, best first.

        Items are compared over the segments that both have; an item that shares none is not found. Where items share different
        segments with the query, cosines of the one kind say another thing than those of the other: they are ranked by how
        far each stands out among its own kind (see docs/gallery.md), and are not in the order of their scores.
        """
        groups = list(self._groups(mask))
        found = [self._one(query, mask, subsets, k, passing, without) for subsets in groups]
        if not found:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        scores, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
        standing = scores
        if len(groups) > 1:
            standing = np.concatenate(
                [self._standing(query, mask, each, part) for each, (part, _) in zip(groups, found, strict=True)]
            )
        best = np.argsort(-standing, kind="stable")[:k]
        return scores[best], keys[best]

    def vectors(self, keys: Keys) -> tuple[Floats, NDArray[np.int64]]:
        """The embeddings [n, D] that the index compares, and their modalities [n]."""
        return self.index.vectors(keys), self._present[keys].astype(np.int64)

    def _groups(self, mask: int) -> Iterator[tuple[int, ...]]:
        """The subsets of modalities that items have, together where a query shares the same segments with them."""
        groups: dict[bytes, list[int]] = {}
        for subset in self._there:
            shared = self.segments.columns(subset) & self.segments.columns(mask)
            if shared.any():
                groups.setdefault(shared.tobytes(), []).append(subset)
        yield from map(tuple, groups.values())

    def _alike(self, subsets: tuple[int, ...]) -> Keys:
        """The keys of the items with these subsets of modalities, growing."""
        if subsets not in self._members:
            self._members[subsets] = np.flatnonzero(np.isin(self._present, subsets))
        return self._members[subsets]

    def _one(
        self, query: Floats, mask: int, subsets: tuple[int, ...], k: int, passing: Keys | None, without: Keys | None
    ) -> tuple[Floats, Keys]:
        """The best among the items with these subsets of modalities, which all share the same segments with the query."""
        if set(subsets) != set(self._there):
            those = self._alike(subsets)
            passing = those if passing is None else np.intersect1d(those, passing, assume_unique=True)
        columns = self.segments.columns(mask) & self.segments.columns(subsets[0])
        reduced = np.where(columns, query, np.float32(0))
        length = float(np.linalg.norm(reduced))
        if length == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        exact = all((self.segments.columns(subset) == columns).all() for subset in subsets)
        wanted = k if exact else WIDER * k + LONGER
        unit = (reduced / np.float32(length))[None].astype(np.float32)
        scores, keys = (part[0] for part in self.index.search(unit, wanted, passing, without=without))
        scores, keys = scores[keys != _NOTHING], keys[keys != _NOTHING]
        if exact or not len(keys):
            return scores, keys
        scores = self.segments.scores(query, mask, self._fetch(keys), self._present[keys].astype(np.int64))
        there = np.isfinite(scores)
        return scores[there], keys[there]

    def _standing(self, query: Floats, mask: int, subsets: tuple[int, ...], scores: Floats) -> Floats:
        """Scores less the mean of the query's scores with items like these, over their deviation.

        Where there are few like these, the others that have all that these have stand in for them.
        """
        shared = subsets[0] & mask
        alike = self._alike(subsets)
        if len(alike) < _FEW:
            alike = self._alike(tuple(subset for subset in _SUBSETS if subset & shared == shared))
        draw = np.random.default_rng(0)
        drawn = alike if len(alike) <= _BACKGROUND else draw.choice(alike, _BACKGROUND, replace=False)
        background = self.segments.scores(query, mask, self.index.vectors(drawn), np.full(len(drawn), shared))
        standing: Floats = (scores - background.mean()) / max(float(background.std()), _LEAST_DEVIATION)
        return standing

    def _fetch(self, keys: Keys) -> Floats:
        """Embeddings [n, D] of the store, reduced as in the index; NaN where a key is gone."""
        with self._lock:
            stored = self._reader.embeddings(keys.tolist(), self.position.generation)
        found = np.full((len(keys), self._card.dimension), np.nan, np.float32)
        for row, key in enumerate(keys.tolist()):
            if key in stored:
                found[row] = stored[key]
        return self.segments.reduced(found, self._present[keys].astype(np.int64))

    def _take(self, now: Position) -> None:
        # First what is new: of an item that was replaced, a search meanwhile finds both, sees that one is gone, and asks again.
        for added in self._store.added(self.position, self._card.dimension):
            self._grow(int(added.keys[-1]))
            self.index.add(added.keys, self.segments.reduced(added.embeddings, added.present))
            self._present[added.keys] = added.present
        removed = self._store.removed(self.position)
        self.index.remove(removed)
        self._present[removed[removed < len(self._present)]] = 0
        self.position = now
        self._count()

    def _mark_present(self, position: Position) -> None:
        """Which modalities the items have that a saved index knows."""
        rows = self._store.run("SELECT key, present FROM items WHERE key <= ?", [position.key])
        if rows:
            keys, present = np.array(rows, np.int64).T
            self._grow(int(keys.max()))
            self._present[keys] = present
        self._count()

    def _count(self) -> None:
        """Note which subsets of modalities items have now."""
        counts = np.bincount(self._present, minlength=len(_SUBSETS) + 1)
        self._there = [subset for subset in _SUBSETS if counts[subset]]
        self._members = {}

    def _grow(self, last: int) -> None:
        if last >= len(self._present):
            grown = np.zeros(max(last + 1, 2 * len(self._present)), np.uint8)
            grown[: len(self._present)] = self._present
            self._present = grown
