"""The index: the vectors nearest to a query, out of millions, found fast.

Derived from the store, and cached in one file.
"""

from trireid.gallery.index.contract import LAST_KEY, Keys, LoadVectors, Scores, Tags, Vectors
from trireid.gallery.index.index_snapshot import IndexSnapshot
from trireid.gallery.index.quantization import Quantization
from trireid.gallery.index.vector_index import VectorIndex

__all__ = [
    "LAST_KEY",
    "IndexSnapshot",
    "Keys",
    "LoadVectors",
    "Quantization",
    "Scores",
    "Tags",
    "VectorIndex",
    "Vectors",
]
