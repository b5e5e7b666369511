"""When a request's answer is of no more use to whoever asked."""

from __future__ import annotations

from trireid.samples import TrireidError
from trireid.samples.deadline import deadline, time_left

__all__ = ["BusyError", "deadline", "late", "time_left"]


class BusyError(TrireidError):
    """The server cannot do this in time.

    `code`: `busy` (too much waits already) or `deadline`; worth another try.
    """


def late() -> BusyError:
    """The error for a request whose turn did not come in time."""
    return BusyError(
        "the server is busy, and this request's time is over; try again", None, "deadline"
    )
