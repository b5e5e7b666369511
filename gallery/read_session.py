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
from trireid.gallery.items import Known
from trireid.gallery.moment import Moment
from trireid.gallery.scoring import Floats
from trireid.gallery.store import Store
from trireid.gallery.where import Condition


class Reading:
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
            return self._names.known(self.store, self.moment)

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
