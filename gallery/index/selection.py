"""Which keys a search may find, pushed down into FAISS as a bitmap over the keys."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Keys

Bits = NDArray[np.uint8]


class Selection:
    """A FAISS selector (None: every key passes), and how many keys pass at most."""

    def __init__(self, selector: Any, passing: int, *read: Any) -> None:
        self.selector, self.passing = selector, passing
        self._read = read  # what FAISS reads and does not own


def selection(present: NDArray[np.bool_], among: Keys | None, without: Keys | None) -> Selection:
    """The selection of the keys in `among`, without those in `without`, out of those present (bool
    [last key + 1]).
    """
    if among is None:
        barred = _marked(without, len(present))
        return _all_but(barred | ~present)
    passes = _marked(among, len(present)) & present
    if without is not None:
        passes &= ~_marked(without, len(present))
    bits = np.packbits(passes, bitorder="little")
    return Selection(_bitmap(bits), int(passes.sum()), bits)


def _all_but(barred: NDArray[np.bool_]) -> Selection:
    """So put that keys added after the bitmap was made pass."""
    passing = int(barred.size - barred.sum())
    bits = np.packbits(barred, bitorder="little")
    inner = _bitmap(bits)
    return Selection(faiss.IDSelectorNot(inner), passing, bits, inner)


def _bitmap(bits: Bits) -> Any:
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]


def _marked(keys: Keys | None, size: int) -> NDArray[np.bool_]:
    marks = np.zeros(size, bool)
    if keys is not None:
        marks[keys[(keys >= 0) & (keys < size)]] = True
    return marks
