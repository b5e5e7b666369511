"""The types of the index. Vectors have unit length, so that the inner product is the cosine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Inner products, float32 [n] or [Q, k].
Scores = NDArray[np.float32]
#: Unit vectors, float32 [n, D].
Vectors = NDArray[np.float32]
#: Keys of vectors, int64 [n] or [Q, k].
Keys = NDArray[np.int64]
#: Vectors as they are stored, uint8 [n, bytes of a code].
Codes = NDArray[np.uint8]
#: One number about each key, uint8 [last key + 1]: 0 if the key is gone or was never there.
Tags = NDArray[np.uint8]
#: The vectors [n, D] of keys [n] from somewhere else, to rescore by; a row of NaN for a key that is
#: gone.
LoadVectors = Callable[[Keys], Vectors]
#: Called during long work every now and then; ends it by raising.
Proceed = Callable[[], None]

#: The key of an entry of a result without a vector.
NOTHING: Final = -1
#: Tags are kept in an array from key 0 to the last.
LAST_KEY: Final = 2**32


def proceed_always(*_: Any) -> None:
    """Go on."""
