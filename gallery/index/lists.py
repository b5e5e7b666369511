"""Inverted lists: per cell of the partition, the keys and codes of the vectors in it, and a sketch of each to search by.

A sketch is one bit per coordinate and two factors (RaBitQ: Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a
theoretical error bound", SIGMOD 2024). Scanning sketches picks a shortlist; the codes of the shortlist give the scores.
"""

from __future__ import annotations

from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from gallery.index.codec import Codec, Codes
from gallery.index.contract import Keys, Scores, Vectors
from gallery.index.gpu import MOST, GpuCopy, gpus
from gallery.index.partition import Partition
from gallery.index.threads import threads

#: The key of a place in a result where nothing was found.
NOTHING: Final = -1


class Lists:
    """Inverted lists of a partition, over one codec. Keys grow from call to call, so they ascend within each list.

    Several threads may scan at once, none while another appends.
    """

    def __init__(self, codec: Codec, partition: Partition, *, sketched: bool) -> None:
        self.codec, self.partition = codec, partition
        self._codes = codec.inverted_lists(partition.quantizer)
        self._sketches = _sketches(partition) if sketched else None
        self._gpu: GpuCopy | None = None
        #: The highest key.
        self.newest = 0

    def __len__(self) -> int:
        return int(self._codes.ntotal)

    @property
    def memory(self) -> int:
        """Bytes of what is held; what the lists keep free to grow does not count."""
        return len(self) * (self.codec.size + 8 + (self.sketch_size + 8 if self.sketch_size else 0))

    @property
    def sketch_size(self) -> int:
        """Bytes of a sketch; 0 where there are none."""
        return 0 if self._sketches is None else int(self._sketches.code_size)

    def append(self, keys: Keys, vectors: Vectors, cells: NDArray[np.int64]) -> None:
        """Add vectors [n, D] with their keys [n] to their cells [n]."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        self.newest = max(self.newest, int(keys[-1])) if len(keys) else self.newest
        given = [len(keys), *(faiss.swig_ptr(array) for array in (vectors, keys, cells))]
        self._codes.add_core(*given)
        if self._sketches is not None:
            self._sketches.add_core(*given)

    def extend(self, cell: int, keys: Keys, codes: Codes, sketches: Codes | None = None) -> None:
        """Add codes [n, size] to one cell. The first such call for a cell takes exactly the memory it needs.

        `sketches`: of another's `sketches`, where that has the same partition; otherwise they are made from the codes.
        """
        if not len(keys):
            return
        self.newest = max(self.newest, int(keys[-1]))
        _enter(self._codes, cell, keys, codes)
        if self._sketches is not None:
            _enter(self._sketches, cell, keys, self.sketched(cell, codes) if sketches is None else sketches)

    def keys(self, cell: int) -> Keys:
        """The keys of a cell, ascending: a view that the next append ends."""
        size = int(self._codes.invlists.list_size(cell))
        if not size:  # FAISS then gives a null pointer
            return np.empty(0, np.int64)
        view: Keys = faiss.rev_swig_ptr(self._codes.invlists.get_ids(cell), size)
        return view

    def codes(self, cell: int) -> Codes:
        """The codes of a cell [n, size], in the order of its keys: a view that the next append ends."""
        return _view(self._codes, cell)

    def sketches(self, cell: int) -> Codes | None:
        """The sketches of a cell, in the order of its keys, where there are any: a view that the next append ends."""
        return None if self._sketches is None else _view(self._sketches, cell)

    def scan(
        self, queries: Vectors, similarity: Scores, cells: Keys, k: int, shortlist: int | None, selector: Any = None
    ) -> tuple[Scores, Keys]:
        """The k nearest of each query in its cells [Q, P] that the FAISS selector lets pass: scores and keys [Q, k].

        `shortlist`: as many are picked by their sketches and only those scored; None scores every one.
        """
        if self._gpu is not None and selector is None and k <= MOST:
            return self._gpu.search(queries, k)
        if shortlist is None or self._sketches is None:
            return _searched(self._codes, queries, similarity, cells, k, selector)
        picked = _searched(self._sketches, queries, similarity, cells, shortlist, selector)[1]
        scores, keys = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        with threads(1):  # each row is little work: waking others for it costs more
            for row, chosen in enumerate(picked):
                only = faiss.IDSelectorBatch(chosen)
                of_row = slice(row, row + 1)
                scores[row], keys[row] = _searched(self._codes, queries[of_row], similarity[of_row], cells[of_row], k, only)
        return scores, keys

    def move_to_gpu(self) -> None:
        """Let exact search of these lists, which are not added to any more, run on the GPUs where there are any."""
        if len(self.partition) == 1 and len(self) and gpus():
            self._gpu = GpuCopy(self.keys(0), self.codec.decode(self.codes(0)))

    def copy(self, last: int) -> Lists:
        """A copy, without the keys after `last`, that later appends leave alone."""
        twin = Lists(self.codec, self.partition, sketched=self._sketches is not None)
        for cell in range(len(self.partition)):
            keys, sketches = self.keys(cell), self.sketches(cell)
            upto = int(np.searchsorted(keys, last, "right"))
            twin.extend(cell, keys[:upto], self.codes(cell)[:upto], None if sketches is None else sketches[:upto])
        return twin

    def sketched(self, cell: int, codes: Codes) -> Codes:
        """Sketches of codes [n, size] in a cell, made anew."""
        cells = np.full(len(codes), cell)
        made = np.empty((len(codes), self._sketches.code_size), np.uint8)  # type: ignore[union-attr]
        vectors = self.codec.decode(codes)
        given = (faiss.swig_ptr(array) for array in (vectors, cells, made))
        self._sketches.encode_vectors(len(codes), *given)  # type: ignore[union-attr]
        return made


def _sketches(partition: Partition) -> Any:
    cells, dimension = partition.centroids.shape
    index = faiss.IndexIVFRaBitQ(partition.quantizer, dimension, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(partition.centroids)  # learns nothing from them: the cells' centroids are all it needs
    return index


def _enter(index: Any, cell: int, keys: Keys, codes: Codes) -> None:
    keys, codes = np.ascontiguousarray(keys), np.ascontiguousarray(codes)
    index.invlists.add_entries(cell, len(keys), faiss.swig_ptr(keys), faiss.swig_ptr(codes))
    index.ntotal += len(keys)


def _view(index: Any, cell: int) -> Codes:
    size, width = int(index.invlists.list_size(cell)), int(index.code_size)
    if not size:
        return np.empty((0, width), np.uint8)
    view: Codes = faiss.rev_swig_ptr(index.invlists.get_codes(cell), size * width)
    return view.reshape(size, width)


def _searched(index: Any, queries: Vectors, similarity: Scores, cells: Keys, k: int, selector: Any) -> tuple[Scores, Keys]:
    scores, keys = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    parameters = faiss.SearchParametersIVF(nprobe=cells.shape[1], sel=selector)  # type: ignore[call-arg]
    given = (len(queries), faiss.swig_ptr(queries), k, faiss.swig_ptr(cells), faiss.swig_ptr(similarity))
    index.search_preassigned_c(*given, faiss.swig_ptr(scores), faiss.swig_ptr(keys), False, parameters)
    scores[keys == NOTHING] = -np.inf
    return scores, keys
