"""Inverted lists that can grow: per cell of the partition, the keys and codes of the vectors in it."""

from __future__ import annotations

from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.codec import Codec, Codes
from trireid.gallery.index.contract import Keys, Scores, Vectors
from trireid.gallery.index.gpu import MOST, GpuCopy, gpus
from trireid.gallery.index.partition import Look, Partition

#: The key of a place in a result where nothing was found.
NOTHING: Final = -1


class Lists:
    """Inverted lists of a partition, over one codec. Keys grow from call to call, so they ascend
    within each list.

    Several threads may scan at once, none while another appends.
    """

    def __init__(self, codec: Codec, partition: Partition) -> None:
        self.codec, self.partition = codec, partition
        self._codes = codec.inverted_lists(partition.quantizer)
        self._gpu: GpuCopy | None = None
        #: The highest key.
        self.newest = 0

    def __len__(self) -> int:
        return int(self._codes.ntotal)

    @property
    def memory(self) -> int:
        """Bytes of what is held; what the lists keep free to grow does not count."""
        return len(self) * (self.codec.size + 8)

    def append(self, keys: Keys, vectors: Vectors, cells: NDArray[np.int64]) -> None:
        """Add vectors [n, D] with their keys [n] to their cells [n]."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        self.newest = max(self.newest, int(keys[-1])) if len(keys) else self.newest
        self._codes.add_core(
            len(keys), *(faiss.swig_ptr(array) for array in (vectors, keys, cells))
        )

    def extend(self, cell: int, keys: Keys, codes: Codes) -> None:
        """Add codes [n, size] to one cell.

        The first such call for a cell takes exactly the memory it needs.
        """
        if not len(keys):
            return
        self.newest = max(self.newest, int(keys[-1]))
        keys, codes = np.ascontiguousarray(keys), np.ascontiguousarray(codes)
        self._codes.invlists.add_entries(
            cell, len(keys), faiss.swig_ptr(keys), faiss.swig_ptr(codes)
        )
        self._codes.ntotal += len(keys)

    def keys(self, cell: int) -> Keys:
        """The keys of a cell, ascending: a view that the next append ends."""
        size = int(self._codes.invlists.list_size(cell))
        if not size:  # FAISS then gives a null pointer
            return np.empty(0, np.int64)
        view: Keys = faiss.rev_swig_ptr(self._codes.invlists.get_ids(cell), size)
        return view

    def codes(self, cell: int) -> Codes:
        """The codes of a cell [n, size], in the order of its keys: a view that the next append
        ends.
        """
        size, width = len(self.keys(cell)), int(self._codes.code_size)
        if not size:
            return np.empty((0, width), np.uint8)
        view: Codes = faiss.rev_swig_ptr(self._codes.invlists.get_codes(cell), size * width)
        return view.reshape(size, width)

    def scan(self, look: Look, k: int, selector: Any = None) -> tuple[Scores, Keys]:
        """The k nearest of each query in the cells where it looks that the FAISS selector lets
        pass: scores and keys [Q, k].
        """
        if self._gpu is not None and selector is None and k <= MOST:
            return self._gpu.search(look.queries, k)
        (count, _), (similarity, cells) = look.queries.shape, look.nearest
        scores, keys = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
        parameters = faiss.SearchParametersIVF(nprobe=cells.shape[1], sel=selector)  # type: ignore[call-arg]
        given = (
            count,
            faiss.swig_ptr(look.queries),
            k,
            faiss.swig_ptr(cells),
            faiss.swig_ptr(similarity),
        )
        self._codes.search_preassigned_c(
            *given, faiss.swig_ptr(scores), faiss.swig_ptr(keys), False, parameters
        )
        scores[keys == NOTHING] = -np.inf
        return scores, keys

    def move_to_gpu(self) -> None:
        """Let exact search of these lists, which are not added to any more, run on the GPUs where
        there are any.
        """
        if len(self.partition) == 1 and len(self) and gpus():
            self._gpu = GpuCopy(self.keys(0), self.codec.decode(self.codes(0)))

    def copy(self, last: int) -> Lists:
        """A copy, without the keys after `last`, that later appends leave alone."""
        twin = Lists(self.codec, self.partition)
        for cell in range(len(self.partition)):
            keys = self.keys(cell)
            upto = int(np.searchsorted(keys, last, "right"))
            twin.extend(cell, keys[:upto], self.codes(cell)[:upto])
        return twin
