"""The index: exact search by inner product, derived from the store."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Keys = NDArray[np.int64]


class ExactIndex:
    """Every vector compared. Vectors are float32 [n, D], unit length, so that the inner product is the cosine."""

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, keys: Keys, vectors: Scores) -> None:
        """Add vectors under their keys."""
        if len(keys):
            self._index.add_with_ids(np.ascontiguousarray(vectors), keys)

    def remove(self, keys: Keys) -> None:
        """Remove the vectors of these keys; keys that are not there are passed over."""
        if len(keys):
            self._index.remove_ids(faiss.IDSelectorBatch(keys))

    def search(self, vector: Scores, k: int, among: Keys | None = None) -> tuple[Scores, Keys]:
        """The k best of all, or of the keys in `among`: scores and keys, best first, fewer where there are fewer."""
        parameters = faiss.SearchParameters()
        if among is not None:
            parameters.sel = faiss.IDSelectorBatch(among)
        k = min(k, len(self) if among is None else len(among))
        if k < 1:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        scores, keys = self._index.search(vector[None], k, params=parameters)
        found = keys[0] >= 0
        return scores[0][found], keys[0][found]
