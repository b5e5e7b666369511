"""How long each stage of a request took: decode, embed, search, store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: Seconds by stage.
Timings = dict[str, float]
_TIMINGS: Final[ContextVar[Timings | None]] = ContextVar("timings", default=None)


@contextmanager
def collect_timings() -> Iterator[Timings]:
    """The timings of the stages that are gone through inside, in this thread."""
    timings: Timings = {}
    token = _TIMINGS.set(timings)
    try:
        yield timings
    finally:
        _TIMINGS.reset(token)


@contextmanager
def measure(name: str) -> Iterator[None]:
    """Count the time inside as this stage's, without that of the stages within it."""
    timings = _TIMINGS.get()
    if timings is None:
        yield
        return
    within, began = sum(timings.values()), time.perf_counter()
    try:
        yield
    finally:
        taken = time.perf_counter() - began - (sum(timings.values()) - within)
        timings[name] = timings.get(name, 0.0) + taken
