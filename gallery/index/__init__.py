"""The index: the vectors nearest to a query, out of very many, found fast.

Derived from the store, and kept in one file.
"""

from trireid.gallery.index.codec import Memory
from trireid.gallery.index.contract import LAST_KEY, Fetch, Index, Keys, Scores, Vectors
from trireid.gallery.index.seen import Seen
from trireid.gallery.index.vectors import VectorIndex

__all__ = [
    "LAST_KEY",
    "Fetch",
    "Index",
    "Keys",
    "Memory",
    "Scores",
    "Seen",
    "VectorIndex",
    "Vectors",
]
