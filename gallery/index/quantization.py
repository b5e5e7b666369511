"""Quantization: a coordinate is stored as float32, as float16, or as one of 256 levels (int8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import faiss
import numpy as np

from trireid.gallery.index.contract import Codes, Vectors

#: Vectors needed before the int8 ranges are fitted.
SAMPLE: Final = 1_000
#: The int8 levels of a coordinate span its mean and this many standard deviations on either side.
_SPAN: Final = 5.0
#: The least deviation of a coordinate, as a share of an even spread over all coordinates: one that
#: has been constant (a modality that was always missing) may come alive later.
_LEAST_DEVIATION: Final = 0.75


class Quantization(StrEnum):
    """How vectors are stored: in 4, 2 or 1 bytes a coordinate."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


_BYTES: Final = {Quantization.FLOAT32: 4, Quantization.FLOAT16: 2, Quantization.INT8: 1}


@dataclass(frozen=True, eq=False)
class Codec:
    """Turns vectors of `dimension` numbers into codes and back.

    `ranges`: of int8, float32 [2 D] as FAISS keeps them: the lowest value of each coordinate, then
    the spans.
    """

    dimension: int
    quantization: Quantization
    ranges: Vectors = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def fit(cls, quantization: Quantization, sample: Vectors) -> Codec:
        """Make a codec for vectors like those of the sample [n, D]."""
        dimension = sample.shape[1]
        if quantization is not Quantization.INT8:
            return cls(dimension, quantization)
        deviation = np.maximum(sample.std(0), _LEAST_DEVIATION / dimension**0.5)
        lowest = sample.mean(0) - _SPAN * deviation
        ranges = np.concatenate([lowest, 2 * _SPAN * deviation])
        return cls(dimension, quantization, ranges.astype(np.float32))

    @property
    def size(self) -> int:
        """Bytes of a code."""
        return _BYTES[self.quantization] * self.dimension

    def new_storage(self, count: int = 0) -> Any:
        """Make a flat FAISS index of `count` codes, which are to be written into it."""
        storage: Any = faiss.IndexFlatIP(self.dimension)
        if self.quantization is not Quantization.FLOAT32:
            is_int8 = self.quantization is Quantization.INT8
            kind = faiss.ScalarQuantizer.QT_8bit if is_int8 else faiss.ScalarQuantizer.QT_fp16
            storage = faiss.IndexScalarQuantizer(self.dimension, kind, faiss.METRIC_INNER_PRODUCT)
            faiss.copy_array_to_vector(self.ranges, storage.sq.trained)
            storage.is_trained = True
        storage.codes.resize(count * self.size)
        storage.ntotal = count
        return storage

    def encode(self, vectors: Vectors) -> Codes:
        """Codes uint8 [n, size] of vectors [n, D]."""
        codes: Codes = self._empty.sa_encode(np.ascontiguousarray(vectors, np.float32))
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors float32 [n, D] of codes [n, size]."""
        vectors: Vectors = self._empty.sa_decode(np.ascontiguousarray(codes))
        return vectors

    def measure_clipping(self, vectors: Vectors) -> float:
        """The share of coordinates at an end of the int8 range; 0 for other quantizations."""
        if self.quantization is not Quantization.INT8:
            return 0.0
        codes = self.encode(vectors)
        return float(((codes == 0) | (codes == 255)).mean())

    @cached_property
    def _empty(self) -> Any:
        return self.new_storage()
