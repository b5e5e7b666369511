"""How many threads FAISS takes for a piece of work.

The number is the calling thread's own: callers do not disturb others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import faiss

#: FAISS would take this by itself: a thread per core, or the number in OMP_NUM_THREADS.
ALL: Final = int(faiss.omp_get_max_threads())


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let FAISS take this many threads for what this thread asks of it inside."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
