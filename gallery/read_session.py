"""A session that reads the store and the index at one and the same position, whatever is written
at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.attribute_names import AttributeNames
from trireid.gallery.filter_cache import FilterCache
from trireid.gallery.filters import Condition
from trireid.gallery.index import IndexSnapshot, Keys
from trireid.gallery.items import ItemRecord, LogPosition
from trireid.gallery.modality_search import ModalitySearch
from trireid.gallery.scoring import Floats, Segments
from trireid.gallery.store import Store


class ReadSession:
    """An index snapshot, and a connection in a transaction that sees the store at its position.

    Several threads may share it.

    Attributes:
        store: The connection.
        position: How far the session sees into the store's history.
        snapshot: The index at that position; its tags are the items' modalities as masks.
        segments: The segments of the embeddings.
        users: How many threads share it; the live index counts them.
    """

    def __init__(
        self,
        store: Store,
        position: LogPosition,
        snapshot: IndexSnapshot,
        segments: Segments,
        filters: FilterCache,
        names: AttributeNames,
    ) -> None:
        self.store, self.position, self.snapshot = store, position, snapshot
        self.segments, self.users = segments, 1
        self._filters, self._names, self._lock = filters, names, threading.Lock()

    def search(
        self,
        query: Floats,
        mask: int,
        k: int,
        include: Keys | None = None,
        exclude: Keys | None = None,
    ) -> tuple[Floats, Keys]:
        """See `ModalitySearch.search`."""
        search = ModalitySearch(self.snapshot, self.segments, self._load_embeddings)
        return search.search(query, mask, k, include, exclude)

    def vectors(self, keys: Keys) -> tuple[Floats, NDArray[np.int64]]:
        """The embeddings [n, D] that the index compares, and their modalities as masks [n]."""
        return self.snapshot.vectors(keys), self.snapshot.tags[keys].astype(np.int64)

    def find_keys(self, condition: Condition) -> Keys:
        """Find the keys int64 [n], ascending, of the items that meet a condition; some of them may
        be gone.
        """
        with self._lock:
            return self._filters.find_keys(self.store, condition, self.position)

    def attribute_names(self) -> set[str] | None:
        """The names of the attributes that items have; None if there are too many to tell."""
        with self._lock:
            return self._names.list_names(self.store, self.snapshot.tags, self.position)

    def find_expired(self, now: float) -> Keys:
        """Find the keys int64 [n], ascending, of the items past their `expires` at a time in
        seconds since 1970.
        """
        with self._lock:
            return self.store.find_expired(now)

    def load_records(self, keys: Keys) -> dict[int, ItemRecord]:
        """Load the records of items by their keys."""
        with self._lock:
            return self.store.load_records(keys.tolist(), may_omit=True)

    def rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Ask the store."""
        with self._lock:
            return self.store.run(statement, values)

    def _load_embeddings(self, keys: Keys) -> Floats:
        with self._lock:
            stored = self.store.embeddings(keys.tolist(), self.position.generation)
        found = np.full((len(keys), self.segments.dimension), np.nan, np.float32)
        for row, key in enumerate(keys.tolist()):
            if key in stored:
                found[row] = stored[key]
        return found
