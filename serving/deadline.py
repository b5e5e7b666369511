"""The time by which a request must be answered."""

from __future__ import annotations

from trireid.samples.deadline import deadline, time_left
from trireid.samples.errors import DeadlineError

__all__ = ["deadline", "deadline_exceeded", "time_left"]


def deadline_exceeded() -> DeadlineError:
    """The error for a request whose turn did not come in time."""
    return DeadlineError("the server is busy")
