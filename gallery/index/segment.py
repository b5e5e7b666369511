"""A segment of the index: vectors under ascending keys, by FAISS' own parts.

The codes lie in a flat index, in the order of the keys. Above the crossover there is a one-bit
sketch of each vector, too, in the inverted lists of a coarse quantizer: scanning the sketches of
some cells picks a shortlist, whose codes give the scores (`faiss.IndexRefine`). The id of a vector
in both indexes is its position in the segment.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import gpu
from trireid.gallery.index.coarse_quantizer import CoarseQuantizer
from trireid.gallery.index.contract import NOTHING, Codes, Keys, Scores, Vectors
from trireid.gallery.index.operating_point import Probes
from trireid.gallery.index.quantization import Codec

#: FAISS' stubs lack the options of its parameters.
_FAISS: Any = faiss


class IndexSegment:
    """Vectors under ascending keys.

    The last segment of an index grows (`append`); the others are sealed. Several threads may search
    at once, but not while one appends.
    """

    def __init__(self, codec: Codec, coarse: CoarseQuantizer | None, count: int = 0) -> None:
        """Hold `count` vectors, which are to be written in (`keys`, `codes`, sketches)."""
        self.codec, self.coarse = codec, coarse
        self._ids = faiss.Int64Vector()
        self._ids.resize(count)
        self._storage = codec.new_storage(count)
        self._sketches: Any = None
        self._refined: Any = None
        self._on_gpu: gpu.GpuCopy | None = None
        if coarse is not None:
            self._sketches = coarse.new_sketches()
            self._sketches.ntotal = count
            self._refined = faiss.IndexRefine(self._sketches, self._storage)

    def __len__(self) -> int:
        return int(self._storage.ntotal)

    @property
    def keys(self) -> Keys:
        """The keys, ascending: a view that ends with the next `append`."""
        return _view(self._ids, self._ids.size(), 1, np.int64)[:, 0]

    @property
    def codes(self) -> Codes:
        """The codes [n, size]: a view that ends with the next `append`."""
        return _view(self._storage.codes, len(self), self.codec.size, np.uint8)

    @property
    def sketch_size(self) -> int:
        """Bytes of a sketch; 0 without a coarse quantizer."""
        return 0 if self._sketches is None else int(self._sketches.code_size)

    @property
    def memory(self) -> int:
        """Bytes held, less what is kept free to grow."""
        position = 8 if self.sketch_size else 0
        return len(self) * (8 + self.codec.size + position + self.sketch_size)

    def append(self, keys: Keys, vectors: Vectors, cells: NDArray[np.int64] | None) -> None:
        """Add vectors [n, D] under keys [n] above all others, in cells [n] of the quantizer."""
        start = len(self)
        self._storage.add(vectors)
        if cells is not None:
            self.add_sketches(start, vectors, cells)
            self._refined.ntotal = self._sketches.ntotal = start + len(keys)
        self._ids.resize(start + len(keys))
        self.keys[start:] = keys

    def add_sketches(self, start: int, vectors: Vectors, cells: NDArray[np.int64]) -> None:
        """Sketch the vectors [n, D] at the positions from `start` on, in cells [n]."""
        positions = np.arange(start, start + len(vectors))
        given = (np.ascontiguousarray(vectors), positions, np.ascontiguousarray(cells))
        held = self._sketches.ntotal
        self._sketches.add_core(len(vectors), *(faiss.swig_ptr(each) for each in given))
        self._sketches.ntotal = held

    def add_cell(self, cell: int, positions: Keys, sketches: Codes) -> None:
        """Put sketches [n, sketch size] of the vectors at positions [n] into a cell."""
        given = (np.ascontiguousarray(positions), np.ascontiguousarray(sketches))
        lists = self._sketches.invlists
        if len(positions):
            lists.add_entries(cell, len(positions), *(faiss.swig_ptr(each) for each in given))

    def cell(self, cell: int) -> tuple[Keys, Codes]:
        """The positions [n] and sketches [n, sketch size] in a cell: views."""
        lists = self._sketches.invlists
        size = int(lists.list_size(cell))
        if not size:  # FAISS gives a null pointer
            return np.empty(0, np.int64), np.empty((0, self.sketch_size), np.uint8)
        sketches: Codes = faiss.rev_swig_ptr(lists.get_codes(cell), size * self.sketch_size)
        return faiss.rev_swig_ptr(lists.get_ids(cell), size), sketches.reshape(size, -1)

    def vectors(self, positions: Keys) -> Vectors:
        """The vectors at positions, [n, D], as they are held."""
        if not len(positions):
            return np.empty((0, self.codec.dimension), np.float32)
        vectors: Vectors = self._storage.reconstruct_batch(positions)
        return vectors

    def search(
        self, queries: Vectors, k: int, probes: Probes, selector: Any = None, first: int = -1
    ) -> tuple[Scores, Keys]:
        """Find the k nearest of each query.

        Args:
            queries: Float32 [Q, D].
            k: Neighbours of each query.
            probes: How far to search.
            selector: A FAISS selector of the keys that may be found; None for all.
            first: Only this many of the first vectors may be found; -1 for all.

        Returns:
            Scores and keys [Q, k], best first; -inf and -1 if there are fewer.
        """
        chosen = self._select(selector, first)
        if self._refined is None or probes.cells is None:
            scores, positions = self._compare_all(queries, k, chosen)
        else:
            factor = max(k, min(probes.shortlist, len(self))) / k
            make = _parameters if chosen is None else _parameters.__wrapped__
            parameters = make(probes.cells, factor, chosen)
            scores, positions = self._refined.search(queries, k, params=parameters)
        if not (positions[:, -1] == NOTHING).any():  # the missing stand at the end
            return scores, self.keys[positions]
        missing = positions == NOTHING
        scores[missing] = -np.inf
        if not len(self):
            return scores, positions
        return scores, np.where(missing, NOTHING, self.keys[positions])

    def use_gpus(self) -> None:
        """Let exact search of this segment, which is sealed, run on the GPUs if that is wanted."""
        if self.coarse is None and len(self) and gpu.is_enabled():
            self._on_gpu = gpu.GpuCopy(self._storage)

    def _compare_all(self, queries: Vectors, k: int, chosen: Any) -> tuple[Scores, Keys]:
        if self._on_gpu is not None and chosen is None and k <= gpu.MOST:
            return self._on_gpu.search(queries, k)
        parameters = None if chosen is None else _FAISS.SearchParameters(sel=chosen)
        found: tuple[Scores, Keys] = self._storage.search(queries, k, params=parameters)
        return found

    def _select(self, selector: Any, first: int) -> Any:
        """A FAISS selector of positions; None for all."""
        early = None if first < 0 else faiss.IDSelectorRange(0, first)
        if selector is None:
            return early
        chosen = _FAISS.IDSelectorTranslated(self._ids, selector)
        return chosen if early is None else faiss.IDSelectorAnd(early, chosen)


@lru_cache(64)  # making them takes a fifth of a search
def _parameters(cells: int, factor: float, chosen: Any) -> Any:
    """`factor`: FAISS picks this many times k, rounded down."""
    base = _FAISS.SearchParametersIVF(nprobe=cells, sel=chosen)
    factor *= 1 + 1e-6
    return _FAISS.IndexRefineSearchParameters(k_factor=factor, base_index_params=base)


def _view(vector: Any, rows: int, width: int, kind: Any) -> NDArray[Any]:
    """The content of a vector of FAISS, as an array [rows, width]."""
    if not rows:
        return np.empty((0, width), kind)
    view: NDArray[Any] = faiss.rev_swig_ptr(vector.data(), rows * width)
    return view.reshape(rows, width)
