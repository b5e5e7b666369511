"""A reading: the store and what is derived from it, both at one and the same position, whatever is
written meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.attribute_names import AttributeNames
from trireid.gallery.filters import Filters
from trireid.gallery.index import Keys
from trireid.gallery.items import Known, LogPosition
from trireid.gallery.moment import Moment
from trireid.gallery.scoring import Floats, Segments
from trireid.gallery.store import Store
from trireid.gallery.where import Condition


class ReadSession:
    """A moment, and a connection in a transaction that sees the store at its position.

    Several threads may share it.
    """

    def __init__(
        self, store: Store, moment: Moment, filters: Filters, names: AttributeNames
    ) -> None:
        self.store, self.moment = store, moment
        #: How many threads are at it; the view counts them.
        self.users = 1
        self._filters, self._names, self._lock = filters, names, threading.Lock()

    @property
    def snapshot(self) -> Moment:
        """The index at the session's position."""
        return self.moment

    @property
    def position(self) -> LogPosition:
        """How far the session sees into the store's history."""
        return self.moment.position

    @property
    def segments(self) -> Segments:
        """The segments of the embeddings that the session reads."""
        return self.moment.segments

    def search(
        self,
        query: Floats,
        mask: int,
        k: int,
        passing: Keys | None = None,
        without: Keys | None = None,
    ) -> tuple[Floats, Keys]:
        """See `Moment.search`."""
        return self.moment.search(query, mask, k, passing, without, self._fetch)

    def vectors(self, keys: Keys) -> tuple[Floats, NDArray[np.int64]]:
        """The embeddings [n, D] that the index compares, and their modalities [n]."""
        return self.moment.index.vectors(keys), self.moment.masks(keys)

    def passing(self, condition: Condition) -> Keys:
        """The keys int64 [n] that a condition holds for, growing; some that are gone may be among
        them.
        """
        with self._lock:
            return self._filters.passing(self.store, condition, self.moment.position)

    def attribute_names(self) -> set[str] | None:
        """The names of the attributes that items have; None if there are too many to tell."""
        with self._lock:
            return self._names.known(self.store, self.moment.present, self.position)

    def expired(self, now: float) -> Keys:
        """The keys int64 [n], growing, of the items past their `expires` at a time in seconds since
        1970.
        """
        with self._lock:
            return self.store.expired(now)

    def known(self, keys: Keys) -> dict[int, Known]:
        """What is known of items by their keys."""
        with self._lock:
            return self.store.known(keys.tolist(), may_omit=True)

    def rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Ask the store."""
        with self._lock:
            return self.store.run(statement, values)

    def _fetch(self, keys: Keys) -> Floats:
        with self._lock:
            stored = self.store.embeddings(keys.tolist(), self.moment.position.generation)
        found = np.full((len(keys), self.moment.segments.dimension), np.nan, np.float32)
        for row, key in enumerate(keys.tolist()):
            if key in stored:
                found[row] = stored[key]
        return found
