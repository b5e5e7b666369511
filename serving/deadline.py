"""When a request's answer is of no more use to whoever asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from samples import TrireidError

_UNTIL: Final[ContextVar[float | None]] = ContextVar("deadline", default=None)


class BusyError(TrireidError):
    """The server cannot do this in time. `code`: `busy` (too much waits already) or `deadline`; worth another try."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What is done inside has so many seconds to start its forward pass; worker threads started inside inherit it."""
    token = _UNTIL.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _UNTIL.reset(token)


def time_left() -> float | None:
    """Seconds left, 0 at least; None where there is no deadline."""
    until = _UNTIL.get()
    return None if until is None else max(0.0, until - time.monotonic())


def late() -> BusyError:
    """The error for a request whose turn did not come in time."""
    return BusyError("the server is busy, and this request's time is over; try again", None, "deadline")
