"""The time by which a caller must have its answer; work on its behalf ends then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_UNTIL: Final[ContextVar[float | None]] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the work inside to `seconds`; worker threads started inside inherit the deadline."""
    token = _UNTIL.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _UNTIL.reset(token)


def time_left() -> float | None:
    """Seconds left, 0 at least; None where there is no deadline."""
    until = _UNTIL.get()
    return None if until is None else max(0.0, until - time.monotonic())
