"""What searches of an index see: one moment of it, of which nothing changes any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from trireid.gallery.index import frozen
from trireid.gallery.index.codec import Memory
from trireid.gallery.index.contract import Fetch, Keys, Scores, Vectors
from trireid.gallery.index.lists import NOTHING, Lists
from trireid.gallery.index.lock import ReadWriteLock
from trireid.gallery.index.partition import Look
from trireid.gallery.index.results import best, scored_again
from trireid.gallery.index.selection import Selection, selection
from trireid.gallery.index.state import State, decoded
from trireid.gallery.index.threads import ALL, threads
from trireid.samples.errors import GalleryError, ItemNotFoundError

#: Queries worked on at a time.
QUERY_BATCH: Final = 256
#: Shortlists of the queries worked on at a time, together.
PICKED_AT_ONCE: Final = 2_000_000
#: A filter that lets at most this share, or so many, pass is answered by comparing all that pass.
FEW: Final = 0.05
FEW_AT_LEAST: Final = 10_000
#: Scored again are the k best, half as many more, and these.
EXTRA: Final = 5


@dataclass(frozen=True)
class Seen:
    """An index as it was when a change was done, whatever is added, removed, merged or trained
    meanwhile.

    `last`: the last key that counts. The last tier may come to hold later ones, which are not
    found; `lists` is held while it is read. The cells up to `last` never change.
    """

    state: State
    last: int
    #: Bars the removed vectors that the lists still hold; None where there are none.
    barred: Selection | None
    lists: ReadWriteLock
    mode: Memory
    recall: float

    def search(
        self,
        queries: Vectors,
        k: int,
        among: Keys | None = None,
        *,
        without: Keys | None = None,
        fetch: Fetch | None = None,
    ) -> tuple[Scores, Keys]:
        """See `Index.search`; the best are scored again with what `fetch` gives. Raises
        GalleryError for queries of another dimension or k below 1.
        """
        queries = self._checked(queries, k)
        allowed = self.barred
        if among is not None or without is not None:
            allowed = selection(self.state.cells[: self.last + 1] != NOTHING, among, without)
        shortlist = self._shortlist(k, allowed)
        at_once = max(1, min(QUERY_BATCH, PICKED_AT_ONCE // shortlist))
        parts = [queries[start : start + at_once] for start in range(0, len(queries), at_once)]
        with threads(ALL if len(queries) > 1 else 1):
            found = [self._search(part, k, shortlist, allowed, fetch) for part in parts]
        if len(found) == 1:
            return found[0]
        empty = np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        scores, keys = (np.concatenate(each) for each in zip(empty, *found, strict=True))
        return scores, keys

    def vectors(self, keys: Keys) -> Vectors:
        """See `Index.vectors`."""
        keys = np.asarray(keys, np.int64)
        known = (keys > 0) & (keys <= self.last)
        known[known] = self.state.cells[keys[known]] != NOTHING
        if not known.all():
            raise ItemNotFoundError(
                f"keys: the index holds no vector under {keys[~known][0]}", "keys"
            )
        with self.lists.reading():
            return decoded(self.state, keys)

    def save(self, path: Path, extra: Mapping[str, Any]) -> None:
        """See `Index.save`. Adding waits while the last tier is copied."""
        with self.lists.reading():
            tiers = (*self.state.tiers[:-1], self.state.tail.copy(self.last))
        settings = {"mode": self.mode.value, "recall": self.recall, "extra": dict(extra)}
        frozen.save(
            path,
            replace(self.state, tiers=tiers, cells=self.state.cells[: self.last + 1]),
            settings,
        )

    def _checked(self, queries: Vectors, k: int) -> Vectors:
        dimension = self.state.tiers[0].codec.dimension
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != dimension:
            raise GalleryError(
                f"queries: expected [Q, {dimension}], got {list(queries.shape)}", "queries"
            )
        if k < 1:
            raise GalleryError(f"k: must be 1 at least, not {k}", "k")
        return queries

    def _search(
        self,
        queries: Vectors,
        k: int,
        shortlist: int,
        allowed: Selection | None,
        fetch: Fetch | None,
    ) -> tuple[Scores, Keys]:
        wanted = k if fetch is None or self.state.tiers[0].codec.exact else k + EXTRA + k // 2
        look = Look(self.state.partition, queries, self._probes(k, allowed))
        scores, keys = self._scanned(look, wanted, shortlist, allowed)
        # what was near is barred: look further
        if not look.everywhere and (keys[:, -1] == NOTHING).any():
            short = (keys == NOTHING).sum(axis=1) > max(0, wanted - self._passing(allowed))
            if short.any():
                look = Look(self.state.partition, queries[short], len(self.state.partition))
                scores[short], keys[short] = self._scanned(look, wanted, 0, allowed)
        if wanted > k and fetch is not None:
            return scored_again(fetch, queries, keys, k)
        return scores, keys

    def _scanned(
        self, look: Look, k: int, shortlist: int, allowed: Selection | None
    ) -> tuple[Scores, Keys]:
        """The best of all tiers."""
        selector, tail = None if allowed is None else allowed.selector, self.state.tail
        found = [
            tier.scan(look, k, selector)
            if isinstance(tier, Lists)
            else tier.scan(look, k, shortlist, selector)
            for tier in self.state.tiers[:-1]
            if len(tier)
        ]
        if len(tail) or not found:
            _ = look.nearest  # before the lock: it takes its time
            with self.lists.reading():
                selector = selector if tail.newest <= self.last else self._known(selector)
                found.append(tail.scan(look, k, selector))
        return best(found, k)

    def _passing(self, allowed: Selection | None) -> int:
        return self.state.held if allowed is None else allowed.passing

    def _known(self, selector: Any) -> Any:
        """A selector that in addition lets pass no key that came later."""
        upto = faiss.IDSelectorRange(0, self.last + 1)
        return upto if selector is None else faiss.IDSelectorAnd(selector, upto)

    def _probes(self, k: int, allowed: Selection | None) -> int:
        """Cells to probe: a narrow filter needs all, another as many as `_depth` neighbours without
        it.
        """
        passing = None if allowed is None or allowed is self.barred else allowed.passing
        if passing is not None and passing <= max(FEW_AT_LEAST, FEW * self.state.held):
            return len(self.state.partition)
        return self.state.effort.probes_for(self._depth(k, allowed))

    def _shortlist(self, k: int, allowed: Selection | None) -> int:
        """How many to pick by their sketches: for twice as many of what passes a filter, since
        `_depth` looks that far.
        """
        filtered = allowed is not None and allowed is not self.barred
        return self.state.effort.shortlist_for(2 * k if filtered else k, self._depth(k, allowed))

    def _depth(self, k: int, allowed: Selection | None) -> float:
        """How many neighbours hold the k that pass: a filter that lets one in n pass needs n times
        as many.

        Twice as many in fact, since what a filter bars often lies nearest to the query (its own
        camera's).
        """
        if allowed is None or allowed is self.barred:
            return k
        return 2 * k / min(1.0, max(1, allowed.passing) / max(1, self.state.held))
