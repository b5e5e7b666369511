"""Filters as sets of keys, kept between queries and brought up to date instead of asked anew."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gallery.store import Store
from gallery.where import Condition

Keys = NDArray[np.int64]
#: How many filters are remembered.
REMEMBERED: Final = 16


class Filters:
    """The keys that a condition holds for, growing; of the last conditions only what was added since is asked of the store.

    Items never change but by being added and removed, so what held of a key holds. Removed keys may stay in an answer.
    """

    def __init__(self, reader: Store) -> None:
        self._reader = reader
        self._known: OrderedDict[tuple[str, str], tuple[int, Keys]] = OrderedDict()
        self._lock = threading.Lock()

    def passing(self, condition: Condition, last: int) -> Keys:
        """The keys int64 [n] up to `last` and at least, growing. The caller holds the reader's lock."""
        mark = condition[0], repr(condition[1])
        with self._lock:
            seen, keys = self._known.pop(mark, (0, np.empty(0, np.int64)))
            if seen < last or not seen:
                keys = np.concatenate([keys, self._reader.keys(condition, seen)])
                seen = max(last, int(keys[-1]) if len(keys) else 0)
            self._known[mark] = seen, keys
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return keys
