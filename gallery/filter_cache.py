"""Filters as sets of keys, kept between queries: only new items are asked of the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.filters import Condition
from trireid.gallery.items import LogPosition
from trireid.gallery.store import Store

Keys = NDArray[np.int64]
#: How many filters are remembered.
REMEMBERED: Final = 16


class FilterCache:
    """The keys that a condition holds for, growing; of the last conditions only what was added
    since is asked of the store.

    Items never change but by being added and removed, so what held of a key holds. Removed keys may
    stay in an answer.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[LogPosition, Keys]] = OrderedDict()
        self._lock = threading.Lock()

    def find_keys(self, store: Store, condition: Condition, position: LogPosition) -> Keys:
        """The keys int64 [n], growing, of a store that is read at a position."""
        mark = condition[0], repr(condition[1])
        with self._lock:
            seen, keys = self._known.get(
                mark, (LogPosition(position.generation), np.empty(0, np.int64))
            )
        if seen.later_than(position):  # what was removed between the two is not in it
            return store.keys(condition)
        if seen.key < position.key:
            keys = np.concatenate([keys, store.keys(condition, seen.key)])
        with self._lock:
            self._known[mark] = position, keys
            self._known.move_to_end(mark)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return keys
