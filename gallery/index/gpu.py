"""Exact search on GPUs, if `TRIREID_INDEX_GPU=1` asks for it. Never tried on one."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

import faiss
import numpy as np

from trireid.gallery.index.contract import Keys, Scores, Vectors

#: FAISS finds no more neighbours than this on a GPU.
MOST: Final = 2048


def is_enabled() -> bool:
    """Whether GPUs are asked for and FAISS sees any; a build for the CPU may not know."""
    asked = os.environ.get("TRIREID_INDEX_GPU") == "1"
    return asked and hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0


class GpuCopy:
    """A float32 copy of a flat index, spread over all GPUs, which take one caller at a time."""

    def __init__(self, storage: Any) -> None:
        flat = faiss.IndexFlatIP(storage.d)
        flat.add(storage.reconstruct_n(0, storage.ntotal))
        self._index, self._one_caller = _move(flat), threading.Lock()

    def search(self, queries: Vectors, k: int) -> tuple[Scores, Keys]:
        """The k nearest: scores and positions [Q, k], -1 if there are fewer."""
        with self._one_caller:
            scores, positions = self._index.search(queries, k)
        return np.asarray(scores), np.asarray(positions)


def _move(flat: Any) -> Any:
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    return faiss.index_cpu_to_all_gpus(flat, co=options)
