"""The memory and cores that all threads of a process share for reading and decoding images."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trireid.samples.deadline import time_left
from trireid.samples.errors import DeadlineError


class Allowance:
    """An amount that threads share, of bytes say: a thread that asks for a part waits until that
    much is left.

    Args:
        total: How much there is. A part larger than that takes all of it, and is then alone.
        free: Parts of up to so much are not counted, and never wait.
    """

    def __init__(self, total: int, free: int = 0) -> None:
        self._total, self._left, self._free = total, total, free
        self._changed = threading.Condition()

    @contextmanager
    def part(self, amount: int) -> Iterator[None]:
        """Hold a part while the block runs.

        Raises DeadlineError if the caller's deadline passes first.
        """
        if amount <= self._free:
            yield
            return
        held = min(amount, self._total)
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= held, time_left()):
                raise DeadlineError("the images of other requests hold the memory for decoding")
            self._left -= held
        try:
            yield
        finally:
            with self._changed:
                self._left += held
                self._changed.notify_all()


def usable_cores() -> int:
    """As many as this process may use, 16 at most."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(cores, 16)


@contextmanager
def hold_one(gate: threading.Semaphore) -> Iterator[None]:
    """Pass a gate for as long as the block runs.

    Raises DeadlineError if the caller's deadline passes first.
    """
    if not gate.acquire(timeout=time_left()):
        raise DeadlineError("the images of other requests take all cores")
    try:
        yield
    finally:
        gate.release()


_MIB: Final = 1 << 20
#: Bytes of image files that are read and not decoded yet. Small files never wait for large ones.
FILES: Final = Allowance(256 * _MIB, free=_MIB)
#: Bytes that decoding takes, in this process and in those it starts. Small images never wait for
#: large ones.
DECODING: Final = Allowance(1024 * _MIB, free=16 * _MIB)
#: Images that are decoded in this process at the same time.
CORES: Final = threading.BoundedSemaphore(usable_cores())
