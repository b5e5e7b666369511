"""Lists that nothing is added to any more: the codes side by side, cell after cell, and a sketch of
each to search by.

A sketch is one bit per coordinate and two factors (RaBitQ: Gao and Long, "RaBitQ: quantizing
high-dimensional vectors with a theoretical error bound", SIGMOD 2024). Scanning the sketches of
some cells picks a shortlist; its codes give the scores.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.codec import Codec, Codes
from trireid.gallery.index.contract import Keys, Scores
from trireid.gallery.index.lists import NOTHING, Lists
from trireid.gallery.index.partition import Look, Partition


class Sealed:
    """The vectors of a partition of several cells, over one codec. `sizes` [L]: how many each cell
    will hold.

    `fill` is called once for each cell that holds any, before the first scan; then several threads
    may scan at once.
    """

    def __init__(self, codec: Codec, partition: Partition, sizes: NDArray[np.int64]) -> None:
        self.codec, self.partition = codec, partition
        self._edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        total = int(self._edges[-1])
        self._of_faiss = faiss.Int64Vector()  # what `_keys` views, for FAISS to read
        self._of_faiss.resize(total)
        self._keys: Keys = (
            faiss.rev_swig_ptr(self._of_faiss.data(), total) if total else np.empty(0, np.int64)
        )
        self._flat = codec.flat(total)
        self._codes = _codes_of(self._flat)
        self._sketched = _sketched(partition)
        self._sketched.ntotal = total
        # searches the one, and scores what it finds again by the other: their ids are the places of
        # the codes
        self._both = faiss.IndexRefine(self._sketched, self._flat)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def memory(self) -> int:
        """Bytes held."""
        return len(self) * (self.codec.size + 16 + self.sketch_size)

    @property
    def sketch_size(self) -> int:
        """Bytes of a sketch."""
        return int(self._sketched.code_size)

    def fill(self, cell: int, keys: Keys, codes: Codes, sketches: Codes | None = None) -> None:
        """Put the vectors of a cell in: keys [n], ascending, and codes [n, size].

        `sketches`: of another's `sketches`, where that has the same partition; otherwise they are
        made from the codes. Raises ValueError for another n than was promised.
        """
        places = np.arange(self._edges[cell], self._edges[cell + 1])
        if len(keys) != len(places):
            raise ValueError(f"cell {cell} was to hold {len(places)} vectors, not {len(keys)}")
        if not len(keys):
            return
        self._keys[places[0] : places[-1] + 1] = keys
        self._codes[places[0] : places[-1] + 1] = codes
        sketches = np.ascontiguousarray(
            self.sketched(cell, codes) if sketches is None else sketches
        )
        self._sketched.invlists.add_entries(
            cell, len(keys), faiss.swig_ptr(places), faiss.swig_ptr(sketches)
        )

    def keys(self, cell: int) -> Keys:
        """The keys of a cell, ascending: a view."""
        return self._keys[self._edges[cell] : self._edges[cell + 1]]

    def codes(self, cell: int) -> Codes:
        """The codes of a cell [n, size], in the order of its keys: a view."""
        return self._codes[self._edges[cell] : self._edges[cell + 1]]

    def sketches(self, cell: int) -> Codes:
        """The sketches of a cell, in the order of its keys: a view."""
        lists, size = self._sketched.invlists, len(self.keys(cell))
        if not size:  # FAISS then gives a null pointer
            return np.empty((0, self.sketch_size), np.uint8)
        view: Codes = faiss.rev_swig_ptr(lists.get_codes(cell), size * self.sketch_size)
        return view.reshape(size, -1)

    def sketched(self, cell: int, codes: Codes) -> Codes:
        """Sketches of codes [n, size] in a cell, made anew."""
        vectors, cells = self.codec.decode(codes), np.full(len(codes), cell)
        made = np.empty((len(codes), self.sketch_size), np.uint8)
        self._sketched.encode_vectors(
            len(codes), *(faiss.swig_ptr(array) for array in (vectors, cells, made))
        )
        return made

    def scan(self, look: Look, k: int, shortlist: int, selector: Any = None) -> tuple[Scores, Keys]:
        """The k nearest of each query where it looks, of those that the FAISS selector lets pass:
        scores and keys [Q, k].

        `shortlist`: as many (k at least) are picked by their sketches and only those scored, unless
        the look is everywhere.
        """
        shortlist = max(k, min(shortlist, len(self)))
        passing = None if selector is None else faiss.IDSelectorTranslated(self._of_faiss, selector)  # type: ignore[arg-type]
        if look.everywhere:
            parameters = faiss.SearchParameters(sel=passing)  # type: ignore[call-arg]
            scores, places = self._flat.search(look.queries, k, params=parameters)
        else:
            parameters = (
                _plain(look.probes, shortlist / k)
                if passing is None
                else _chosen(look.probes, shortlist / k, passing)
            )
            scores, places = self._both.search(look.queries, k, params=parameters)
        if (places[:, -1] == NOTHING).any():  # what is missing stands at the end
            missing = places == NOTHING
            scores[missing] = -np.inf
            return scores, np.where(missing, NOTHING, self._keys[places])
        return scores, self._keys[places]


#: A part of an index: lists that grow, or sealed ones.
Tier = Lists | Sealed


@lru_cache(64)
def _plain(probes: int, factor: float) -> Any:
    """The same parameters again: to make them takes a fifth of a search."""
    return _chosen(probes, factor, None)


def _chosen(probes: int, factor: float, selector: Any) -> Any:
    """`factor`: FAISS picks that many times k, rounded down."""
    cells = faiss.SearchParametersIVF(nprobe=probes, sel=selector)  # type: ignore[call-arg]
    return faiss.IndexRefineSearchParameters(k_factor=factor * (1 + 1e-6), base_index_params=cells)  # type: ignore[call-arg]


def _codes_of(flat: Any) -> Codes:
    """A view [n, size] of what a FAISS index holds."""
    size, width = int(flat.ntotal), int(flat.code_size)
    view: Codes = (
        faiss.rev_swig_ptr(flat.codes.data(), size * width) if size else np.empty(0, np.uint8)
    )
    return view.reshape(size, width)


def _sketched(partition: Partition) -> Any:
    cells, dimension = partition.centroids.shape
    index = faiss.IndexIVFRaBitQ(partition.quantizer, dimension, cells, faiss.METRIC_INNER_PRODUCT)
    # learns nothing from them: the cells' centroids are all it needs
    index.train(partition.centroids)
    return index
