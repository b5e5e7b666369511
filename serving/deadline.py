"""When a request's answer is of no more use to whoever asked."""

from __future__ import annotations

from trireid.samples.deadline import deadline, time_left
from trireid.samples.errors import DeadlineError

__all__ = ["deadline", "late", "time_left"]


def late() -> DeadlineError:
    """The error for a request whose turn did not come in time."""
    return DeadlineError("the server is busy")
