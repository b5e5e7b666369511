"""What the gallery asks of an index.

Vectors are unit length, so that the inner product is the cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Vectors = NDArray[np.float32]
Keys = NDArray[np.int64]

#: Keys are marked one by one in an array from 0 to the last.
LAST_KEY: Final = 2**32
#: Vectors by their keys, float32 [n, D] in the order asked; a row of NaN for a key that is gone.
Fetch = Callable[[Keys], Vectors]


class Index(Protocol):
    """A set of vectors under keys.

    Keys are positive and grow: each added key is above all before it, and none comes twice.
    """

    def __len__(self) -> int:
        """How many vectors there are."""
        ...

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add vectors [n, D] under their keys [n].

        Raises GalleryError for keys that do not grow, or another D.
        """
        ...

    def remove(self, keys: Keys) -> None:
        """Remove the vectors of these keys; keys that are not there are passed over."""
        ...

    def search(
        self, queries: Vectors, k: int, among: Keys | None = None, *, without: Keys | None = None
    ) -> tuple[Scores, Keys]:
        """The k nearest to each query [Q, D], best first: scores [Q, k] and keys [Q, k].

        `among`: only these keys may be found; `without`: these may not. Where fewer are found, key
        -1 and score -inf fill the row.
        """
        ...

    def vectors(self, keys: Keys) -> Vectors:
        """The vectors of these keys, [n, D], as exactly as they are held.

        Raises GalleryError for a key that is not there.
        """
        ...

    def save(self, path: str | PathLike[str], extra: Mapping[str, Any] | None = None) -> None:
        """Write all to one file, in one step; `extra` is JSON that comes back with it."""
        ...

    @property
    def memory(self) -> int:
        """Bytes held."""
        ...
