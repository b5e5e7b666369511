"""How many requests and bytes a server process takes in before it says that it is busy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.exceptions import HTTPException

from trireid.samples.errors import BusyError
from trireid.serving.metrics import Metrics

#: Of the space that is free for temporary files when the server starts.
_SHARE: Final = 0.5


class AdmissionControl:
    """Counts requests from before their body is read until they are answered, and the bytes of
    their bodies.

    Args:
        most: requests at the same time.
        body_bytes: of the largest request.
    """

    def __init__(self, most: int, body_bytes: int) -> None:
        self.most, self.now = most, 0
        space = shutil.disk_usage(tempfile.gettempdir()).free
        self.most_bytes, self.bytes = min(most * body_bytes, int(space * _SHARE)), 0
        self.metrics: Metrics | None = None

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Count a request for as long as the block runs; it yields the function that counts bytes
        of its body.

        Raises:
            BusyError: there are too many requests; where bytes are counted, too many bytes of all
                of them.
            HTTPException: 507 for a request that is too large for the temporary files' space on its
                own.
        """
        if self.now >= self.most:
            raise BusyError(f"{self.most} requests wait already; try again")
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if held + size > self.most_bytes:
                raise HTTPException(
                    507, "the server has not enough disk space for a request of this size"
                )
            if self.bytes + size > self.most_bytes:
                raise BusyError("uploads fill their share of the disk; try again")
            held += size
            self.bytes += size

        self._count(1)
        try:
            yield take
        finally:
            self.bytes -= held
            self._count(-1)

    def _count(self, change: int) -> None:
        self.now += change
        if self.metrics:
            self.metrics.set_queue(self.now)
