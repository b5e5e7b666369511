"""Exact search on GPUs, where FAISS sees any. Untried: no machine with a GPU was at hand."""

from __future__ import annotations

import threading
from typing import Any, Final

import faiss
import numpy as np

from trireid.gallery.index.contract import Keys, Scores, Vectors

#: FAISS finds no more neighbours than this on a GPU.
MOST: Final = 2048


def gpus() -> int:
    """How many GPUs FAISS sees; builds for the CPU may not know the question."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


class GpuCopy:
    """A copy of vectors [n, D] on all GPUs, spread over them.

    FAISS's GPU indexes take one caller at a time.
    """

    def __init__(self, keys: Keys, vectors: Vectors) -> None:
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(np.ascontiguousarray(vectors))
        self._keys, self._index, self._one = keys.copy(), _moved(flat), threading.Lock()

    def search(self, queries: Vectors, k: int) -> tuple[Scores, Keys]:
        """The k nearest: scores and keys [Q, k], -inf and -1 where there are fewer."""
        with self._one:
            scores, rows = self._index.search(queries, k)
        found = rows >= 0
        return np.where(found, scores, -np.inf).astype(np.float32), np.where(
            found, self._keys[rows], -1
        )


def _moved(flat: Any) -> Any:
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    return faiss.index_cpu_to_all_gpus(flat, co=options)
