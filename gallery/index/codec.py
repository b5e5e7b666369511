"""How a vector is held: every coordinate as float32, as float16, or as one of 256 levels (scalar
quantisation).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Vectors

Codes = NDArray[np.uint8]

#: The int8 levels of a coordinate span its mean and this many standard deviations either way; what
#: lies outside is clipped.
SPAN: Final = 5.0
#: No coordinate's deviation is taken for smaller than this share of what an even spread over all
#: coordinates would be: one that has been constant so far (a modality that was always missing) may
#: come alive later.
LEAST_DEVIATION: Final = 0.75
#: Vectors wanted before int8 levels are fitted.
SAMPLE: Final = 1_000


class Memory(StrEnum):
    """How vectors are held in memory: 4, 2 or 1 byte per coordinate."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


_KINDS: Final = {
    Memory.FLOAT16: faiss.ScalarQuantizer.QT_fp16,
    Memory.INT8: faiss.ScalarQuantizer.QT_8bit,
}


class Codec:
    """Turns vectors into codes and back.

    `levels`: the fitted ranges of int8, float32 [2 D], as FAISS holds them.
    """

    def __init__(
        self, dimension: int, memory: Memory, levels: NDArray[np.float32] | None = None
    ) -> None:
        self.dimension, self.memory = dimension, memory
        self._quantizer: Any = None
        if memory is not Memory.FLOAT32:
            self._quantizer = faiss.ScalarQuantizer(dimension, _KINDS[memory])
        if levels is not None:
            faiss.copy_array_to_vector(
                np.ascontiguousarray(levels, np.float32), self._quantizer.trained
            )

    @classmethod
    def fitted(cls, memory: Memory, sample: Vectors) -> Codec:
        """A codec for vectors like those of the sample [n, D]."""
        dimension = sample.shape[1]
        if memory is not Memory.INT8:
            return cls(dimension, memory)
        deviation = np.maximum(sample.std(0), LEAST_DEVIATION / dimension**0.5)
        lowest = sample.mean(0) - SPAN * deviation
        return cls(
            dimension, memory, np.concatenate([lowest, 2 * SPAN * deviation]).astype(np.float32)
        )

    @property
    def exact(self) -> bool:
        """Whether decoding gives back what was encoded."""
        return self.memory is Memory.FLOAT32

    @property
    def size(self) -> int:
        """Bytes of a code."""
        return 4 * self.dimension if self.exact else int(self._quantizer.code_size)

    @property
    def levels(self) -> NDArray[np.float32]:
        """The fitted ranges of int8; empty for the others."""
        return (
            np.empty(0, np.float32)
            if self.exact
            else np.array(faiss.vector_to_array(self._quantizer.trained))
        )

    def clipped(self, codes: Codes) -> float:
        """The share of coordinates in codes [n, size] that lie at an end of the int8 levels; 0 for
        the others.
        """
        return float(((codes == 0) | (codes == 255)).mean()) if self.memory is Memory.INT8 else 0.0

    def encode(self, vectors: Vectors) -> Codes:
        """Codes uint8 [n, size] of vectors [n, D]."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if self.exact:
            return vectors.view(np.uint8).reshape(len(vectors), self.size)
        codes: Codes = self._quantizer.compute_codes(vectors)
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors float32 [n, D] of codes [n, size]."""
        if self.exact:
            return np.ascontiguousarray(codes).view(np.float32).reshape(len(codes), self.dimension)
        vectors: Vectors = self._quantizer.decode(np.ascontiguousarray(codes))
        return vectors

    def flat(self, count: int) -> Any:
        """A FAISS index with room for the codes of so many vectors, which are to be written into
        it.
        """
        index: Any = faiss.IndexFlatIP(self.dimension)
        if not self.exact:
            index = faiss.IndexScalarQuantizer(
                self.dimension, _KINDS[self.memory], faiss.METRIC_INNER_PRODUCT
            )
            index.sq.trained = self._quantizer.trained
            index.is_trained = True
        index.codes.resize(count * self.size)
        index.ntotal = count
        return index

    def inverted_lists(self, quantizer: Any) -> Any:
        """An empty FAISS index of inverted lists that hold such codes, one per centroid of a coarse
        quantizer.
        """
        given = (quantizer, self.dimension, quantizer.ntotal)
        index: Any
        if self.exact:
            index = faiss.IndexIVFFlat(*given, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexIVFScalarQuantizer(
                *given, _KINDS[self.memory], faiss.METRIC_INNER_PRODUCT, False
            )
            index.sq.trained = self._quantizer.trained
        index.is_trained = True
        return index
