"""The names of the items' attributes, kept up with the store: each with one item that has it."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.items import LogPosition
from trireid.gallery.store import Store
from trireid.gallery.stored_values import limit_length

#: Of galleries with more names no list is kept.
MOST_NAMES: Final = 10_000


class AttributeNames:
    """The attributes that items of a gallery have.

    Only what was added since is read of the store; a name whose item is gone is looked for once
    more, and forgotten if no other item has it.
    """

    def __init__(self) -> None:
        self._holders: dict[str, int] = {}
        self._seen = 0
        self._lock = threading.Lock()

    def list_names(
        self, store: Store, present: NDArray[np.uint8], position: LogPosition
    ) -> set[str] | None:
        """Return the names of the attributes of the items that are there at a position.

        Args:
            store: A store in a transaction at that position.
            present: The modalities of each key's item as a mask, 0 if it is gone: [last key + 1].
            position: How far the store's history goes.

        Returns:
            The names; None if there are too many to tell.
        """
        with self._lock:
            self._follow(store, position)
            if len(self._holders) > MOST_NAMES:
                return None
            for name, key in list(self._holders.items()):
                if key < len(present) and not present[key]:
                    self._look_again(store, name)
            return set(self._holders)

    def _follow(self, store: Store, position: LogPosition) -> None:
        if self._seen >= position.key or len(self._holders) > MOST_NAMES:
            return
        rows = store.run(
            f"SELECT {limit_length('each.key')}, max(items.key) FROM items,"
            " json_each(items.attributes) AS each"
            " WHERE items.key > ? AND items.attributes <> '{}' GROUP BY each.key LIMIT ?",
            [self._seen, MOST_NAMES + 1],
        )
        self._holders.update((str(name), key) for name, key in rows)
        self._seen = position.key

    def _look_again(self, store: Store, name: str) -> None:
        rows = store.run(
            "SELECT items.key FROM items, json_each(items.attributes) AS each WHERE each.key = ?"
            " LIMIT 1",
            [name],
        )
        if rows:
            self._holders[name] = rows[0][0]
        else:
            del self._holders[name]
