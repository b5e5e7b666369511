"""How long each stage of a request took: decode, embed, search, store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: Seconds by stage.
Times = dict[str, float]
_TIMES: Final[ContextVar[Times | None]] = ContextVar("stages", default=None)


@contextmanager
def collected() -> Iterator[Times]:
    """The times of the stages that are gone through inside, in this thread."""
    times: Times = {}
    token = _TIMES.set(times)
    try:
        yield times
    finally:
        _TIMES.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the time inside as this stage's, without that of the stages within it."""
    times = _TIMES.get()
    if times is None:
        yield
        return
    within, began = sum(times.values()), time.perf_counter()
    try:
        yield
    finally:
        taken = time.perf_counter() - began - (sum(times.values()) - within)
        times[name] = times.get(name, 0.0) + taken
