"""How the space is divided: k-means cells, each with an inverted list of the vectors nearest to its
centroid.

Source: Jégou, Douze, Schmid, "Product quantization for nearest neighbor search" (TPAMI 2011),
section IV, the inverted file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Keys, Scores, Vectors

#: Rounds of k-means, and training vectors per cell.
ROUNDS: Final = 6
PER_CELL: Final = 32
_SEED: Final = 1234


def cells_for(count: int) -> int:
    """How many cells suit this many vectors: twice the square root (measured: see
    docs/gallery-index.md).
    """
    return max(1, round(2 * math.sqrt(count)))


class Partition:
    """Cells with unit-length centroids [L, D].

    With one cell there is nothing to choose: search is exact.
    """

    def __init__(self, centroids: Vectors) -> None:
        #: The centroids, as FAISS wants them.
        self.quantizer = faiss.IndexFlatIP(centroids.shape[1])
        self.quantizer.add(np.ascontiguousarray(centroids, np.float32))

    @classmethod
    def whole(cls, dimension: int) -> Partition:
        """One cell that holds everything."""
        return cls(np.zeros((1, dimension), np.float32))

    @classmethod
    def trained(
        cls, sample: Vectors, cells: int, proceed: Callable[[], None] = lambda: None
    ) -> Partition:
        """K-means over the sample [n, D];

        `proceed` is called before each round, and may end the work by raising.
        """
        centroids = np.random.default_rng(_SEED).permutation(sample)[:cells]
        for _ in range(ROUNDS):
            proceed()
            centroids = _round(sample, centroids)
        return cls(centroids)

    def __len__(self) -> int:
        return int(self.quantizer.ntotal)

    @property
    def centroids(self) -> Vectors:
        """Float32 [L, D]: a view."""
        view: Vectors = faiss.rev_swig_ptr(self.quantizer.get_xb(), len(self) * self.quantizer.d)
        return view.reshape(len(self), self.quantizer.d)

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self.centroids.nbytes

    def assign(self, vectors: Vectors) -> NDArray[np.int64]:
        """The cell of each vector, [n]."""
        if len(self) == 1:
            return np.zeros(len(vectors), np.int64)
        cells: NDArray[np.int64] = self.quantizer.search(np.ascontiguousarray(vectors), 1)[1][:, 0]
        return cells

    def nearest(self, queries: Vectors, probes: int) -> tuple[Scores, Keys]:
        """The `probes` cells nearest to each query: similarities and cells, [Q, probes], best
        first.
        """
        if len(self) == 1:
            return np.zeros((len(queries), 1), np.float32), np.zeros((len(queries), 1), np.int64)
        similarity, found = self.quantizer.search(queries, min(probes, len(self)))
        return similarity, found


class Look:
    """Where a search looks: at the `probes` cells nearest to each of its queries [Q, D], found when
    first asked for.
    """

    def __init__(self, partition: Partition, queries: Vectors, probes: int) -> None:
        self.partition, self.queries, self.probes = partition, queries, min(probes, len(partition))

    @property
    def everywhere(self) -> bool:
        """Whether it looks at every cell."""
        return self.probes == len(self.partition)

    @cached_property
    def nearest(self) -> tuple[Scores, Keys]:
        """Similarities and cells, [Q, probes], best first."""
        return self.partition.nearest(self.queries, self.probes)


def _round(sample: Vectors, centroids: Vectors) -> Vectors:
    """One round of spherical k-means; empty cells split crowded ones."""
    cells, dimension = centroids.shape
    clustering = faiss.Clustering(dimension, cells)
    clustering.niter, clustering.seed, clustering.spherical = 1, _SEED, True
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, PER_CELL
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).ravel(), clustering.centroids)
    clustering.train(np.ascontiguousarray(sample), faiss.IndexFlatIP(dimension))
    moved: Vectors = faiss.vector_to_array(clustering.centroids).reshape(cells, dimension)
    return moved
