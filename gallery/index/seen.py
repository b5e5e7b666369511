"""What searches of an index see: one moment of it, of which nothing changes any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from gallery.index import frozen
from gallery.index.codec import Memory
from gallery.index.contract import Fetch, Keys, Scores, Vectors
from gallery.index.lists import NOTHING
from gallery.index.lock import ReadWriteLock
from gallery.index.results import best, scored_again
from gallery.index.selection import Selection, selection
from gallery.index.state import State, decoded
from gallery.index.threads import ALL, threads
from samples import GalleryError

#: Queries worked on at a time.
QUERY_BATCH: Final = 256
#: A filter that lets at most this share, or so many, pass is answered by comparing all that pass.
FEW: Final = 0.05
FEW_AT_LEAST: Final = 10_000
#: Scored again are the k best, half as many more, and these.
EXTRA: Final = 5


@dataclass(frozen=True)
class Seen:
    """An index as it was when a change was done, whatever is added, removed, merged or trained meanwhile.

    `last`: the last key that counts. The last tier may come to hold later ones, which are not found; `lists` is held while it
    is read. The cells up to `last` never change.
    """

    state: State
    last: int
    #: Bars the removed vectors that the lists still hold; None where there are none.
    barred: Selection | None
    lists: ReadWriteLock
    mode: Memory
    recall: float

    def search(
        self, queries: Vectors, k: int, among: Keys | None = None, *, without: Keys | None = None, fetch: Fetch | None = None
    ) -> tuple[Scores, Keys]:
        """See `Index.search`; the best are scored again with what `fetch` gives. Raises GalleryError for queries of another
        dimension or k below 1.
        """
        queries = self._checked(queries, k)
        allowed = self.barred
        if among is not None or without is not None:
            allowed = selection(self.state.cells[: self.last + 1] != NOTHING, among, without)
        scores, keys = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        with threads(ALL if len(queries) > 1 else 1):
            for start in range(0, len(queries), QUERY_BATCH):
                part = slice(start, start + QUERY_BATCH)
                scores[part], keys[part] = self._search(queries[part], k, allowed, fetch)
        return scores, keys

    def vectors(self, keys: Keys) -> Vectors:
        """See `Index.vectors`."""
        keys = np.asarray(keys, np.int64)
        known = (keys > 0) & (keys <= self.last)
        known[known] = self.state.cells[keys[known]] != NOTHING
        if not known.all():
            raise GalleryError(f"keys: the index holds no vector under {keys[~known][0]}", "keys", "not_found")
        with self.lists.reading():
            return decoded(self.state, keys)

    def save(self, path: Path, extra: Mapping[str, Any]) -> None:
        """See `Index.save`. Adding waits while the last tier is copied."""
        *sealed, tail = self.state.tiers
        with self.lists.reading():
            tiers = (*sealed, tail.copy(self.last))
        settings = {"mode": self.mode.value, "recall": self.recall, "extra": dict(extra)}
        frozen.save(path, replace(self.state, tiers=tiers, cells=self.state.cells[: self.last + 1]), settings)

    def _checked(self, queries: Vectors, k: int) -> Vectors:
        dimension = self.state.tiers[0].codec.dimension
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != dimension:
            raise GalleryError(f"queries: expected [Q, {dimension}], got {list(queries.shape)}", "queries")
        if k < 1:
            raise GalleryError(f"k: must be 1 at least, not {k}", "k")
        return queries

    def _search(self, queries: Vectors, k: int, allowed: Selection | None, fetch: Fetch | None) -> tuple[Scores, Keys]:
        state = self.state
        wanted = k if fetch is None or state.tiers[0].codec.exact else k + EXTRA + k // 2
        similarity, cells = state.partition.nearest(queries, self._probes(wanted, allowed))
        shortlist = state.effort.shortlist_for(wanted) if cells.shape[1] < len(state.partition) else None
        selector = None if allowed is None else allowed.selector
        found = [tier.scan(queries, similarity, cells, wanted, shortlist, selector) for tier in state.tiers[:-1] if len(tier)]
        tail = state.tiers[-1]
        with self.lists.reading():
            if len(tail) or not found:
                selector = selector if tail.newest <= self.last else self._known(selector)
                found.append(tail.scan(queries, similarity, cells, wanted, None, selector))
        scores, keys = best(found, wanted)
        if wanted > k and fetch is not None:
            return scored_again(fetch, queries, keys, k)
        return scores, keys

    def _known(self, selector: Any) -> Any:
        """A selector that in addition lets pass no key that came later."""
        upto = faiss.IDSelectorRange(0, self.last + 1)
        return upto if selector is None else faiss.IDSelectorAnd(selector, upto)

    def _probes(self, k: int, allowed: Selection | None) -> int:
        """A filter that lets one in n pass needs the search that would find n times as many neighbours; a narrow one, all.

        Twice as many in fact, since what a filter bars often lies nearest to the query (its own camera's).
        """
        state = self.state
        if allowed is None or allowed is self.barred:
            return state.effort.probes_for(k)
        share = allowed.passing / max(1, state.held)
        if allowed.passing <= FEW_AT_LEAST or share <= FEW:
            return len(state.partition)
        return state.effort.probes_for(2 * k / min(1.0, share))
