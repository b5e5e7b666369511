"""The coarse quantizer: k-means cells, each with an inverted list of the vectors nearest to it.

Source: Jégou, Douze, Schmid, "Product quantization for nearest neighbor search" (TPAMI 2011),
section IV, the inverted file.
"""

from __future__ import annotations

import math
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Proceed, Vectors

#: Training vectors for each cell, and rounds of k-means.
PER_CELL: Final = 32
_ROUNDS: Final = 6
_SEED: Final = 1234


def suitable_cells(count: int) -> int:
    """How many cells suit `count` vectors: twice the square root (see docs/gallery-index.md)."""
    return max(1, round(2 * math.sqrt(count)))


class CoarseQuantizer:
    """Cells with unit-length centroids [L, D]."""

    def __init__(self, centroids: Vectors) -> None:
        self._index = faiss.IndexFlatIP(centroids.shape[1])
        self._index.add(np.ascontiguousarray(centroids, np.float32))

    @classmethod
    def train(cls, sample: Vectors, cells: int, proceed: Proceed) -> CoarseQuantizer:
        """Find cells by spherical k-means over the sample [n, D]."""
        centroids = np.random.default_rng(_SEED).permutation(sample)[:cells]
        for _ in range(_ROUNDS):
            proceed()
            centroids = _improve(sample, centroids)
        return cls(centroids)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def centroids(self) -> Vectors:
        """Float32 [L, D]: a view."""
        size = len(self) * self._index.d
        view: Vectors = faiss.rev_swig_ptr(self._index.get_xb(), size)
        return view.reshape(len(self), -1)

    def assign(self, vectors: Vectors) -> NDArray[np.int64]:
        """The cell of each vector, [n]."""
        cells: NDArray[np.int64] = self._index.search(np.ascontiguousarray(vectors), 1)[1][:, 0]
        return cells

    def rank(self, queries: Vectors) -> NDArray[np.int64]:
        """All cells, the nearest to each query first, [Q, L]."""
        cells: NDArray[np.int64] = self._index.search(queries, len(self))[1]
        return cells

    def new_sketches(self) -> Any:
        """Make an empty FAISS index of inverted lists of one-bit sketches.

        Source: Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error
        bound" (SIGMOD 2024).
        """
        kind = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFRaBitQ(self._index, self._index.d, len(self), kind)
        index.train(self.centroids)  # marks it as trained: the centroids are all that it needs
        return index


def _improve(sample: Vectors, centroids: Vectors) -> Vectors:
    """Run one round of k-means; empty cells split crowded ones."""
    cells, dimension = centroids.shape
    clustering = faiss.Clustering(dimension, cells)
    clustering.niter, clustering.seed, clustering.spherical = 1, _SEED, True
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, PER_CELL
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).ravel(), clustering.centroids)
    clustering.train(np.ascontiguousarray(sample), faiss.IndexFlatIP(dimension))
    moved: Vectors = faiss.vector_to_array(clustering.centroids).reshape(cells, dimension)
    return moved
