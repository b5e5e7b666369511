"""Which keys a search may find, as a FAISS selector: a bitmap over the keys."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Keys


class Selection(NamedTuple):
    """A FAISS selector, and how many keys pass it at most."""

    selector: Any
    passing: int


def select(
    present: NDArray[np.bool_], include: Keys | None = None, exclude: Keys | None = None
) -> Selection:
    """Select those of the keys in `include` (None: of all) that are present and not in `exclude`.

    Without `include`, keys after the last of `present` (bool [last key + 1]) pass, too.
    """
    if include is None:
        hidden = ~present | _mark(exclude, len(present))
        return Selection(faiss.IDSelectorNot(_bitmap(hidden)), int((~hidden).sum()))
    passes = present & _mark(include, len(present)) & ~_mark(exclude, len(present))
    return Selection(_bitmap(passes), int(passes.sum()))


def _bitmap(marks: NDArray[np.bool_]) -> Any:
    make: Any = faiss.IDSelectorBitmap  # its stub lacks the form with an array
    return make(np.packbits(marks, bitorder="little"))


def _mark(keys: Keys | None, size: int) -> NDArray[np.bool_]:
    marks = np.zeros(size, bool)
    if keys is not None:
        marks[keys[(keys >= 0) & (keys < size)]] = True
    return marks
